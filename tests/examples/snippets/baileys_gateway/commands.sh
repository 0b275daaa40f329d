# Send text message
curl -X POST http://localhost:5000/api/send-message \
  -H "Content-Type: application/json" \
  -d '{"phone":"6281234567890","message":"Hello from cURL!"}'
# Send image
curl -X POST http://localhost:5000/api/send-image \
  -F "phone=6281234567890" \
  -F "caption=Sample image" \
  -F "file=@image.jpg"
# Send document
curl -X POST http://localhost:5000/api/send-document \
  -F "phone=6281234567890" \
  -F "caption=Important document" \
  -F "file=@document.pdf"
# Check status
curl http://localhost:5000/api/status
# Health check
curl http://localhost:5000/api/health
