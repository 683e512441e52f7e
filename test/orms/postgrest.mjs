// Answers POST /rest/v1/rpc/<function> from a database as PostgREST does: which schemas it serves, how it finds a function by the
// names of its arguments, which role it becomes, and the form of results and errors. It stands in for PostgREST, which neither npm
// nor Debian has. docs.postgrest.org, "Functions as RPC", "Schemas" and "Errors", describe these rules.

import { createServer } from 'node:http';

const failed = (status, code, message, hint = null) => ({ status, body: { code, message, details: null, hint } });

// roles: the role of each API key.
async function answer(pool, { schemas, roles }, request, text) {
  const name = request.url.match(/^\/rest\/v1\/rpc\/(\w+)$/)?.[1];
  const schema = request.headers['content-profile'] ?? schemas[0];
  if (!schemas.includes(schema)) return failed(406, 'PGRST106', `Invalid schema: ${schema}`, `Only the following schemas are exposed: ${schemas.join(', ')}`);
  const given = text === '' ? {} : JSON.parse(text);
  const { rows: [found] } = await pool.query(`
    SELECT p.prorettype = 'void'::regtype AS is_void, p.proretset AS is_set, p.names
    FROM (SELECT p.*, array(SELECT a.name FROM unnest(p.proargnames, coalesce(p.proargmodes, array_fill('i'::"char", ARRAY[p.pronargs])))
                            WITH ORDINALITY AS a (name, mode, n) WHERE a.mode = 'i' ORDER BY a.n) AS names FROM pg_proc p) p
    WHERE p.pronamespace = to_regnamespace($1) AND p.proname = $2 AND $3::text[] <@ p.names
      AND p.names[1:p.pronargs - p.pronargdefaults] <@ $3::text[]`, [`"${schema}"`, name, Object.keys(given)]);
  if (!found) return failed(404, 'PGRST202', `Could not find the function ${schema}.${name}(${Object.keys(given).join(', ')}) in the schema cache`);
  const { rows: types } = await pool.query(`
    SELECT a.name, format_type(a.type, NULL) AS type
    FROM pg_proc p, unnest(p.proargnames[1:p.pronargs], p.proargtypes::oid[]) AS a (name, type)
    WHERE p.pronamespace = to_regnamespace($1) AND p.proname = $2 AND a.name = ANY ($3)`, [`"${schema}"`, name, Object.keys(given)]);
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    await client.query("SELECT set_config('role', $1, true)", [roles[request.headers.apikey] ?? 'anon']);
    const list = types.map((argument) => `"${argument.name}" => a."${argument.name}"`).join(', ');
    const from = types.length === 0 ? '' : `json_to_record($1) AS a (${types.map((argument) => `"${argument.name}" ${argument.type}`).join(', ')}), LATERAL `;
    const sql = `SELECT ${found.is_set ? "coalesce(json_agg(r), '[]')" : 'json_agg(r)->0'} AS body FROM ${from}"${schema}"."${name}"(${list}) AS r`;
    const { rows } = await client.query(sql, types.length === 0 ? [] : [JSON.stringify(given)]);
    await client.query('COMMIT');
    return found.is_void ? { status: 204 } : { status: 200, body: rows[0].body };
  } catch (error) {
    await client.query('ROLLBACK');
    return { status: error.code === '42501' ? 403 : 400, body: { code: error.code, message: error.message, details: error.detail ?? null, hint: error.hint ?? null } };
  } finally {
    client.release();
  }
}

// `called` has the names of the functions that were called.
export async function startPostgrest(pool, options) {
  const called = new Set();
  const server = createServer((request, response) => {
    let text = '';
    called.add(request.url.split('/').at(-1));
    request.on('data', (chunk) => (text += chunk));
    request.on('end', async () => {
      const { status, body } = await answer(pool, options, request, text);
      response.writeHead(status, { 'Content-Type': 'application/json; charset=utf-8' }).end(status === 204 ? undefined : JSON.stringify(body));
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { called, url: `http://127.0.0.1:${server.address().port}`, close: () => new Promise((resolve) => server.close(resolve)) };
}
