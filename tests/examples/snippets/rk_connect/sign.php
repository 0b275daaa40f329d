$apiKey = 'your_api_key';
$apiSecret = 'your_api_secret';
$body = json_encode([
    'recipient' => '6281234567890',
    'type' => 'text',
    'message' => 'Hello from RK Connect',
], JSON_UNESCAPED_UNICODE);
$timestamp = (string) time();
$payload = $apiKey . $timestamp . $body;
$signature = hash_hmac('sha256', $payload, $apiSecret);
// Headers:
// X-API-KEY = $apiKey
// X-TIMESTAMP = $timestamp
// X-SIGNATURE = $signature
