// An app for the database to call: each route answers 200.

import { createServer } from 'node:http';

export async function startApp(client) {
  const server = createServer((request, response) => {
    request.resume();
    response.writeHead(200, { 'Content-Type': 'application/json' }).end('{"ok":true}');
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  await client.query('SELECT wee5_cron.configure($1, $2)', [`http://127.0.0.1:${server.address().port}`, 'the secret of these tests']);
  return { close: () => new Promise((resolve) => server.close(resolve).closeAllConnections()) };
}
