const axios = require('axios');
const FormData = require('form-data');
const fs = require('fs');
const API_BASE = 'http://localhost:5000';
// Send text message
async function sendText(phone, message) {
  try {
    const response = await axios.post(`${API_BASE}/api/send-message`, {
      phone: phone,
      message: message
    });
    console.log('Success:', response.data);
  } catch (error) {
    console.error('Error:', error.response?.data || error.message);
  }
}
// Send image
async function sendImage(phone, imagePath, caption) {
  try {
    const form = new FormData();
    form.append('phone', phone);
    form.append('caption', caption);
    form.append('file', fs.createReadStream(imagePath));
    const response = await axios.post(`${API_BASE}/api/send-image`, form, {
      headers: form.getHeaders()
    });
    console.log('Success:', response.data);
  } catch (error) {
    console.error('Error:', error.response?.data || error.message);
  }
}
// Usage
sendText('6281234567890', 'Hello from Node.js!');
sendImage('6281234567890', './image.jpg', 'Sample image');
