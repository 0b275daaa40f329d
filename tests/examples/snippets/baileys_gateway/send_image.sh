curl -X POST http://localhost:5000/api/send-image \
  -F "phone=6281234567890" \
  -F "caption=Beautiful sunset photo!" \
  -F "file=@sunset.jpg"
