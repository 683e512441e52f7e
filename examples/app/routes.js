// The work of the three routes. A real app would talk to its database and to its mail provider here.

// As many answers as are kept for calls that come again.
const kRememberedCalls = 1000

// A call may reach the app twice: its answer can get lost on the way back. The Idempotency-Key is the same on every
// attempt of one call, so a repeated one gets the first one's answer, and nobody gets two e-mails. An app with more than
// one process keeps the keys in its database, in the transaction that does the work.
function onceForEachKey(work) {
  const answers = new Map()
  return (request) => {
    const key = request.headers['idempotency-key']
    if (key === undefined) return work(request)
    if (!answers.has(key)) {
      answers.set(key, work(request))
      if (answers.size > kRememberedCalls) answers.delete(answers.keys().next().value)
    }
    return answers.get(key)
  }
}

// The routes with a state of their own, so that every app, and every test, starts from nothing.
export function createRoutes() {
  let polls = 0
  let emails = 0
  return new Map([
    ['/api/cron/poll-activities', () => ({ ok: true, polls: ++polls })],
    ['/api/cron/welcome-emails', onceForEachKey(() => ({ ok: true, emails_sent: ++emails }))],
    [
      '/api/analytics/cron',
      // The tick that the call is for, not the clock: a late or repeated call still counts the right day.
      (request) => ({ ok: true, day: (request.headers['x-wee5-cron-scheduled-at'] ?? new Date().toISOString()).slice(0, 10) }),
    ],
  ])
}
