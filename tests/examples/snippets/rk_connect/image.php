$response = Http::asMultipart()
    ->withHeaders([
        'X-API-KEY' => $apiKey,
        'X-DEVICE-CODE' => 'RK-XXXX',
        'X-TIMESTAMP' => $timestamp,
        'X-SIGNATURE' => $signature,
    ])->post('https://connect.rumahkomunitas.com/api/v1/send', [
        ['name' => 'recipient', 'contents' => '6281234567890'],
        ['name' => 'type', 'contents' => 'image'],
        ['name' => 'message', 'contents' => 'Promo today'],
        ['name' => 'media', 'contents' => fopen('/path/to/image.jpg', 'r'),
            'filename' => 'image.jpg'],
    ]);
