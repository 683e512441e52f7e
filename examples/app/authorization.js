import { createHash, timingSafeEqual } from 'node:crypto'

const digest = (text) => createHash('sha256').update(text).digest()

// Returns a function that tells whether an Authorization header carries the secret, or the previous one while a new secret
// is on its way. Digests are compared, in constant time: comparing the strings would tell a patient listener how long the
// secret is and how much of it was right.
export function bearerCheck(secret, previous) {
  if (typeof secret !== 'string' || secret.trim() === '') {
    // `Bearer ${undefined}` would otherwise be a password that everybody knows.
    throw new Error('CRON_SECRET is not set: without it anybody could call the routes')
  }
  const accepted = [secret, previous]
    .filter((text) => typeof text === 'string' && text.trim() !== '')
    .map((text) => digest(`Bearer ${text}`))
  return (header) => accepted.filter((expected) => timingSafeEqual(digest(header ?? ''), expected)).length > 0
}
