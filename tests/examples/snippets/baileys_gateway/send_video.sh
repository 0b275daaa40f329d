curl -X POST http://localhost:5000/api/send-video \
  -F "phone=6281234567890" \
  -F "caption=Amazing video!" \
  -F "file=@demo.mp4"
