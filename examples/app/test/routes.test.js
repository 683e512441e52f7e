import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, beforeEach, test } from 'node:test'
import { createApp } from '../app.js'

const kSecret = 'a-secret-that-must-not-be-logged'
const kPaths = ['/api/cron/poll-activities', '/api/cron/welcome-emails', '/api/analytics/cron']

let server
let origin
let lines = []

before(async () => {
  server = createApp({ secret: kSecret, log: (line) => lines.push(line) })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  origin = `http://127.0.0.1:${server.address().port}`
})

after(() => {
  server.close()
  server.closeAllConnections()
})

beforeEach(() => {
  lines = []
})

const call = (path, { method = 'GET', bearer = kSecret, headers = {} } = {}) =>
  fetch(origin + path, { method, headers: bearer === null ? headers : { Authorization: `Bearer ${bearer}`, ...headers } })

for (const path of kPaths) {
  test(`${path} answers JSON to the right bearer`, async () => {
    const response = await call(path)
    assert.equal(response.status, 200)
    assert.equal(response.headers.get('content-type'), 'application/json')
    assert.equal(response.headers.get('cache-control'), 'no-store')
    assert.equal((await response.json()).ok, true)
  })

  test(`${path} answers 401 without it, and does nothing`, async () => {
    for (const bearer of [null, 'wrong', '']) {
      const response = await call(path, { bearer })
      assert.equal(response.status, 401)
      assert.deepEqual(await response.json(), { ok: false, error: 'the bearer secret is missing or wrong' })
    }
  })

  test(`${path} allows GET only`, async () => {
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'HEAD']) {
      const response = await call(path, { method })
      assert.equal(response.status, 405, method)
      assert.equal(response.headers.get('allow'), 'GET')
      await response.text()
    }
  })
}

test('what is no route is 404 in JSON, with or without the bearer', async () => {
  for (const bearer of [kSecret, null]) {
    const response = await call('/api/cron/none', { bearer })
    assert.equal(response.status, 404)
    assert.deepEqual(await response.json(), { ok: false, error: 'no such route' })
  }
})

test('a query does not change the route', async () => {
  assert.equal((await call('/api/cron/poll-activities?limit=5')).status, 200)
})

test('a call that comes again sends no second e-mail', async () => {
  const emailsSent = async (key) =>
    (await (await call('/api/cron/welcome-emails', { headers: { 'Idempotency-Key': key } })).json()).emails_sent
  const first = await emailsSent('k1')
  assert.equal(await emailsSent('k1'), first)
  assert.equal(await emailsSent('k2'), first + 1)
})

test('analytics counts the day that the call is for', async () => {
  const response = await call('/api/analytics/cron', { headers: { 'X-Wee5-Cron-Scheduled-At': '2026-02-03T00:00:00Z' } })
  assert.equal((await response.json()).day, '2026-02-03')
})

test('every call is one line in the log, which never has the secret or the query', async () => {
  const told = { 'X-Wee5-Cron-Invocation': '7', 'X-Wee5-Cron-Attempt': '1', 'X-Wee5-Cron-Job': 'poll-activities' }
  await call('/api/cron/poll-activities?key=hidden', { headers: told })
  await call('/api/cron/poll-activities', { bearer: `${kSecret}x` })
  assert.equal(lines.length, 2)
  assert.match(lines[0], /^\S+Z GET \/api\/cron\/poll-activities 200 \S+ms invocation=7 attempt=1 job=poll-activities$/)
  assert.match(lines[1], / 401 /)
  assert.doesNotMatch(lines.join('\n'), /must-not-be-logged|hidden|Bearer/)
})
