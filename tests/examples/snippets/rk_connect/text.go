payload := map[string]string{
	"recipient": "6281234567890",
	"type": "text",
	"message": "Hello from RK Connect",
}
buf, _ := json.Marshal(payload)
req, _ := http.NewRequest("POST", "https://connect.rumahkomunitas.com/api/v1/send",
	bytes.NewBuffer(buf))
req.Header.Set("Content-Type", "application/json")
req.Header.Set("X-API-KEY", apiKey)
req.Header.Set("X-DEVICE-CODE", "RK-XXXX")
req.Header.Set("X-TIMESTAMP", timestamp)
req.Header.Set("X-SIGNATURE", signature)
resp, _ := http.DefaultClient.Do(req)
