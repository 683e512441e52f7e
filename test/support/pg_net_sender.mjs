// Does what pg_net's worker does, for the stand-in that test/support/install_pg_net_fixture installs: takes the queue in batches,
// sends all requests of a batch at once, and writes the answers in the transaction that took the batch.

async function send({ id, method, url, headers, body, timeout_milliseconds: timeout }) {
  try {
    const signal = AbortSignal.timeout(timeout);
    const answer = await fetch(url, { method, headers, signal, ...(body !== null && { body }) });
    return { id, status_code: answer.status, content_type: answer.headers.get('content-type'), headers: Object.fromEntries(answer.headers), content: await answer.text(), timed_out: false };
  } catch (error) {
    // In libcurl's words.
    const late = error.name === 'TimeoutError';
    return { id, timed_out: late, error_msg: late ? `Timeout of ${timeout} ms reached` : "Couldn't connect to server" };
  }
}

// pool: of a superuser, as pg has it. Sends until it is stopped.
export function startPgNet(pool) {
  let stopped = false;
  const batch = async () => {
    const client = await pool.connect();
    try {
      await client.query('BEGIN');
      const { rows } = await client.query(`
        DELETE FROM net.http_request_queue WHERE id IN (SELECT id FROM net.http_request_queue ORDER BY id LIMIT 200)
        RETURNING id, method, url, headers, convert_from(body, 'UTF8') AS body, timeout_milliseconds`);
      const answers = await Promise.all(rows.map(send));
      await client.query(`
        INSERT INTO net._http_response (id, status_code, content_type, headers, content, timed_out, error_msg)
        SELECT * FROM jsonb_to_recordset($1::jsonb) AS a (id bigint, status_code int, content_type text, headers jsonb, content text, timed_out boolean, error_msg text)`,
      [JSON.stringify(answers)]);
      await client.query('COMMIT');
      return rows.length;
    } catch (error) {
      await client.query('ROLLBACK');
      throw error;
    } finally {
      client.release();
    }
  };
  const work = async () => {
    while (!stopped) if (await batch() === 0) await new Promise((resolve) => setTimeout(resolve, 50));
  };
  const working = work();
  return { stop: () => { stopped = true; return working; } };
}
