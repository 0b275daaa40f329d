$response = Http::asMultipart()
    ->withHeaders([
        'X-API-KEY' => $apiKey,
        'X-DEVICE-CODE' => 'RK-XXXX',
        'X-TIMESTAMP' => $timestamp,
        'X-SIGNATURE' => $signature,
    ])->post('https://connect.rumahkomunitas.com/api/v1/send', [
        ['name' => 'recipient', 'contents' => '6281234567890'],
        ['name' => 'type', 'contents' => 'document'],
        ['name' => 'message', 'contents' => 'Invoice attached'],
        ['name' => 'media', 'contents' => fopen('/path/to/invoice.pdf', 'r'),
            'filename' => 'invoice.pdf'],
    ]);
