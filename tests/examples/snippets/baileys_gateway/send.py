import requests
API_BASE = 'http://localhost:5000'
# Send text message
def send_text(phone, message):
    response = requests.post(f'{API_BASE}/api/send-message', json={
        'phone': phone,
        'message': message
    })
    return response.json()
# Send image
def send_image(phone, image_path, caption=None):
    with open(image_path, 'rb') as f:
        files = {'file': f}
        data = {'phone': phone}
        if caption:
            data['caption'] = caption
        response = requests.post(f'{API_BASE}/api/send-image',
                                 files=files, data=data)
        return response.json()
# Usage
result = send_text('6281234567890', 'Hello from Python!')
print(result)
result = send_image('6281234567890', './image.jpg', 'Sample image')
print(result)
