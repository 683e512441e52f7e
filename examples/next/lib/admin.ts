import { createHmac, timingSafeEqual } from 'node:crypto';

export const cookieName = 'admin';

function same(a: string, b: string): boolean {
  const key = 'compares texts of any length';
  const digest = (text: string) => createHmac('sha256', key).update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}

// Without ADMIN_PASSWORD nobody is let in.
export function isPassword(given: string): boolean {
  const password = process.env.ADMIN_PASSWORD ?? '';
  return password !== '' && same(given, password);
}

// Proves that its holder knew the password. A real app keeps sessions, and ends them.
export function ticket(): string {
  return createHmac('sha256', process.env.ADMIN_PASSWORD ?? '').update('admin of this app').digest('hex');
}

export function isAdmin(request: Request): boolean {
  const cookies = (request.headers.get('cookie') ?? '').split(/; */);
  const given = cookies.find((cookie) => cookie.startsWith(`${cookieName}=`))?.slice(cookieName.length + 1) ?? '';
  return (process.env.ADMIN_PASSWORD ?? '') !== '' && same(given, ticket());
}
