const form = new FormData();
form.append('recipient', '6281234567890');
form.append('type', 'document');
form.append('message', 'Invoice attached');
form.append('media', fs.createReadStream('/path/to/invoice.pdf'));
await axios.post('https://connect.rumahkomunitas.com/api/v1/send', form, {
  headers: {
    ...form.getHeaders(),
    'X-API-KEY': apiKey,
    'X-DEVICE-CODE': 'RK-XXXX',
    'X-TIMESTAMP': timestamp,
    'X-SIGNATURE': signature,
  },
});
