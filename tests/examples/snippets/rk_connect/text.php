$body = [
    'recipient' => '6281234567890',
    'type' => 'text',
    'message' => 'Hello from RK Connect',
];
$response = Http::withHeaders([
    'X-API-KEY' => $apiKey,
    'X-DEVICE-CODE' => 'RK-XXXX',
    'X-TIMESTAMP' => $timestamp,
    'X-SIGNATURE' => $signature,
])->post('https://connect.rumahkomunitas.com/api/v1/send', $body);
