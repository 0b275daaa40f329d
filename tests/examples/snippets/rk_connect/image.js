import axios from 'axios';
import FormData from 'form-data';
import fs from 'fs';
const form = new FormData();
form.append('recipient', '6281234567890');
form.append('type', 'image');
form.append('message', 'Promo today');
form.append('media', fs.createReadStream('/path/to/image.jpg'));
await axios.post('https://connect.rumahkomunitas.com/api/v1/send', form, {
  headers: {
    ...form.getHeaders(),
    'X-API-KEY': apiKey,
    'X-DEVICE-CODE': 'RK-XXXX',
    'X-TIMESTAMP': timestamp,
    'X-SIGNATURE': signature,
  },
});
