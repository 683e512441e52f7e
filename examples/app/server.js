// Starts the app: CRON_SECRET=... [CRON_SECRET_PREVIOUS=...] [PORT=3000] [HOST=127.0.0.1] node server.js
import { createApp } from './app.js'

function refuse(message) {
  console.error(`not started: ${message}`)
  process.exit(1)
}

const host = process.env.HOST ?? '127.0.0.1'
const port = Number(process.env.PORT ?? 3000)
if (!Number.isInteger(port) || port < 0 || port > 65535) refuse(`PORT is not a port: ${process.env.PORT}`)

let server
try {
  server = createApp({ secret: process.env.CRON_SECRET, previousSecret: process.env.CRON_SECRET_PREVIOUS })
} catch (error) {
  refuse(error.message)
}
server.on('error', (error) => refuse(error.message))
server.listen(port, host, () => {
  const { address, port: chosen, family } = server.address()
  console.log(`listening on http://${family === 'IPv6' ? `[${address}]` : address}:${chosen}`)
})

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    server.close(() => process.exit(0))
    // Kept-alive connections that nothing is asked on would hold the process.
    server.closeIdleConnections()
  })
}
