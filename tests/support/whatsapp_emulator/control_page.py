"""The page on which a person plays the phone: it calls the control API."""

PAGE = """<!doctype html>
<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>WhatsApp emulator</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem }
  label { display: block; margin-top: .8rem } input, textarea { width: 100%; font: inherit; box-sizing: border-box }
  button { margin-top: 1rem; font: inherit } pre { background: #f4f4f4; padding: 1rem; overflow: auto }
</style>
<h1>WhatsApp emulator</h1>
<p>You are the phone. Link a device by the text of its QR code or by the code it shows, then write to it.</p>
<form data-post="/scan"><h2>Scan</h2>
  <label>Text of the QR code <textarea name="qr" rows="3" required></textarea></label>
  <label>Number of your phone <input name="phone" value="628111222333" required></label>
  <label>Your name <input name="name" value="Ayu"></label><button>Scan</button></form>
<form data-post="/code"><h2>Type a code</h2>
  <label>Number of your phone <input name="phone" value="628111222333" required></label>
  <label>Code <input name="code" required></label><button>Link</button></form>
<form data-say><h2>Write</h2>
  <label>From (any number) <input name="from" value="628999000111" required></label>
  <label>To (a linked number) <input name="to" value="628111222333" required></label>
  <label>Text <input name="text" required></label><button>Send</button></form>
<h2>What happened</h2><pre id="answer"></pre><pre id="accounts"></pre>
<script>
  const call = async (method, path, body) => {
    const reply = await fetch(path, {method, body: body && JSON.stringify(body)})
    return reply.json()
  }
  const show = async answer => {
    document.getElementById("answer").textContent = JSON.stringify(answer, null, 2)
    document.getElementById("accounts").textContent = JSON.stringify(await call("GET", "/accounts"), null, 2)
  }
  document.addEventListener("submit", async event => {
    event.preventDefault()
    const form = event.target, fields = Object.fromEntries(new FormData(form))
    if (form.dataset.post) return show(await call("POST", form.dataset.post, fields))
    await call("PUT", `/accounts/${fields.from}`, {})
    show(await call("POST", `/accounts/${fields.from}/say`, {to: fields.to, text: fields.text}))
  })
  show({})
</script>
"""
