// An app on the real Fastify, for the TAP tests. Fastify answers 400 to a Content-Type without a body, and 415 to a body
// of an unknown type.
//
//   FASTIFY_SECRET=... node fastify_app.mjs
//
// Prints "listening PORT". Answers every method of /route with 200 and {"method", "body"}, or with 401 without the bearer.
// Runs until its standard input ends.
import { createRequire } from 'node:module'

const fastify = createRequire(new URL('../scripts/package.json', import.meta.url))('fastify')
const app = fastify()

app.addHook('onRequest', async (request, reply) => {
  if (request.headers.authorization !== `Bearer ${process.env.FASTIFY_SECRET}`) return reply.code(401).send({ error: 'bearer' })
})
app.route({
  method: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
  url: '/route',
  handler: async (request) => ({ method: request.method, body: request.body ?? null }),
})

process.stdin.on('end', () => process.exit(0)).resume()
await app.listen({ host: '127.0.0.1', port: 0 })
console.log(`listening ${app.server.address().port}`)
