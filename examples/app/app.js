import { createServer } from 'node:http'
import { bearerCheck } from './authorization.js'
import { createRoutes } from './routes.js'

// The HTTP server of the app, not listening yet. Throws when there is no secret. `log` gets one line a call.
export function createApp({ secret, previousSecret, log = console.log }) {
  const isAuthorized = bearerCheck(secret, previousSecret)
  const routes = createRoutes()

  function answer(request, path) {
    const route = routes.get(path)
    if (!route) return [404, { ok: false, error: 'no such route' }]
    if (request.method !== 'GET') return [405, { ok: false, error: 'only GET is allowed' }, { Allow: 'GET' }]
    if (!isAuthorized(request.headers.authorization)) {
      return [401, { ok: false, error: 'the bearer secret is missing or wrong' }, { 'WWW-Authenticate': 'Bearer' }]
    }
    return [200, route(request)]
  }

  return createServer((request, response) => {
    const started = performance.now()
    // Without the query: people put keys into it.
    const path = request.url.split('?', 1)[0]
    let status, body, headers
    try {
      ;[status, body, headers] = answer(request, path)
    } catch (error) {
      log(`error in ${request.method} ${path}: ${error.message}`)
      ;[status, body] = [500, { ok: false, error: 'the route failed' }]
    }
    // no-store: an answer out of a cache looks like work that was done.
    response.writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store', ...headers })
    response.end(JSON.stringify(body) + '\n')
    const milliseconds = (performance.now() - started).toFixed(1)
    log(`${new Date().toISOString()} ${request.method} ${path} ${status} ${milliseconds}ms${caller(request.headers)}`)
  })
}

// Who called, as the extension says; never the Authorization header.
function caller(headers) {
  const told = { invocation: 'x-wee5-cron-invocation', attempt: 'x-wee5-cron-attempt', job: 'x-wee5-cron-job' }
  return Object.entries(told)
    .filter(([, header]) => headers[header] !== undefined)
    .map(([name, header]) => ` ${name}=${headers[header].slice(0, 100)}`)
    .join('')
}
