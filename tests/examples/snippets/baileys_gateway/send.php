<?php
$apiBase = 'http://localhost:5000';
// Send text message
function sendText($phone, $message) {
    global $apiBase;
    $data = json_encode([
        'phone' => $phone,
        'message' => $message
    ]);
    $ch = curl_init();
    curl_setopt($ch, CURLOPT_URL, "$apiBase/api/send-message");
    curl_setopt($ch, CURLOPT_POST, true);
    curl_setopt($ch, CURLOPT_POSTFIELDS, $data);
    curl_setopt($ch, CURLOPT_HTTPHEADER, ['Content-Type: application/json']);
    curl_setopt($ch, CURLOPT_RETURNTRANSFER, true);
    $response = curl_exec($ch);
    curl_close($ch);
    return json_decode($response, true);
}
// Send image
function sendImage($phone, $imagePath, $caption = null) {
    global $apiBase;
    $postData = [
        'phone' => $phone,
        'file' => new CURLFile($imagePath)
    ];
    if ($caption) {
        $postData['caption'] = $caption;
    }
    $ch = curl_init();
    curl_setopt($ch, CURLOPT_URL, "$apiBase/api/send-image");
    curl_setopt($ch, CURLOPT_POST, true);
    curl_setopt($ch, CURLOPT_POSTFIELDS, $postData);
    curl_setopt($ch, CURLOPT_RETURNTRANSFER, true);
    $response = curl_exec($ch);
    curl_close($ch);
    return json_decode($response, true);
}
// Usage
$result = sendText('6281234567890', 'Hello from PHP!');
print_r($result);
?>
