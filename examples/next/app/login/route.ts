import { cookieName, isPassword, ticket } from '@/lib/admin';

const form = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Log in</title></head><body>
<form method="post"><input name="username" value="admin" autocomplete="username" hidden><label>Password <input type="password" name="password" autocomplete="current-password" required></label> <button>Log in</button></form>
</body></html>`;

const page = (status: number) => new Response(form, { status, headers: { 'Content-Type': 'text/html; charset=utf-8', 'Cache-Control': 'no-store' } });

export const dynamic = 'force-dynamic';

export async function GET() {
  return page(200);
}

export async function POST(request: Request) {
  const given = (await request.formData()).get('password');
  if (typeof given !== 'string' || !isPassword(given)) return page(401);
  const secure = process.env.NODE_ENV === 'production' && !request.url.startsWith('http://localhost') ? '; Secure' : '';
  const headers = { Location: '/admin/cron', 'Set-Cookie': `${cookieName}=${ticket()}; Path=/; HttpOnly; SameSite=Lax; Max-Age=28800${secure}` };
  return new Response(null, { status: 303, headers });
}
