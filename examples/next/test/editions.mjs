// The two editions of wee5_cron, each in an empty database `app` of a server with pg_cron, for the tests of this app.
//
// Each has a role that makes the statements of an administrator, and a role as which the app connects. On a hosted Supabase
// project, both are the owner of the project, who is not a superuser.

import { readFileSync } from 'node:fs';
import pg from 'pg';
import { startPgNet } from '../../../test/support/pg_net_sender.mjs';

const password = 'of the app';
const handwritten = readFileSync(new URL('../../../test/support/handwritten_cron.sql', import.meta.url), 'utf8');

const rowsOf = async (client, text, params) => (await client.query(text, params)).rows;

// A role's address over TCP, as an app has it.
async function addressOf(root, role) {
  const [{ port, database }] = await rowsOf(root, "SELECT current_setting('port') AS port, current_database() AS database");
  return `postgres://${role}:${encodeURIComponent(password)}@127.0.0.1:${port}/${database}`;
}

export async function native(root) {
  // The jobs are those of wee5-cron.json.
  await root.query('CREATE EXTENSION pg_cron; SET wee5_cron.default_jobs = off; CREATE EXTENSION wee5_cron');
  await root.query(`CREATE ROLE activities LOGIN PASSWORD '${password}'; GRANT CREATE ON SCHEMA public TO activities`);
  await root.query("SELECT wee5_cron.grant_to('activities', 'operate')");
  return {
    transport: 'builtin', databaseUrl: await addressOf(root, 'activities'), admin: root, configOptions: [], isExpected: () => false,
    // The worker does this.
    harvest: async () => undefined,
    stop: async () => undefined,
  };
}

export async function portable(root) {
  const [{ real }] = await rowsOf(root, "SELECT count(*) > 0 AS real FROM pg_available_extension_versions WHERE name = 'pg_net' AND version <> 'wee5fixture'");
  await root.query(`
    CREATE ROLE project LOGIN PASSWORD '${password}' CREATEROLE CREATEDB BYPASSRLS;
    CREATE ROLE anon NOLOGIN; CREATE ROLE authenticated NOLOGIN; CREATE ROLE service_role NOLOGIN;
    ALTER DATABASE app OWNER TO project; ALTER SCHEMA public OWNER TO project;
    CREATE EXTENSION pg_cron;
    GRANT USAGE ON SCHEMA cron TO project;
    REVOKE INSERT, UPDATE, DELETE ON cron.job FROM PUBLIC;
    GRANT SELECT ON cron.job TO project;
    GRANT SELECT, DELETE, TRUNCATE ON cron.job_run_details TO project;
    CREATE EXTENSION pg_net ${real ? '' : "VERSION 'wee5fixture'"};
    GRANT USAGE ON SCHEMA net TO PUBLIC;
    GRANT ALL ON net.http_request_queue, net._http_response TO PUBLIC;
    GRANT ALL ON ALL SEQUENCES IN SCHEMA net TO PUBLIC;
    CREATE SCHEMA vault;
    CREATE EXTENSION supabase_vault SCHEMA vault VERSION 'wee5fixture';
    GRANT USAGE ON SCHEMA vault TO project;
    GRANT SELECT, INSERT, UPDATE, DELETE ON vault.secrets TO project;
    GRANT SELECT ON vault.decrypted_secrets TO project;
    GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA vault TO project;`);
  const databaseUrl = await addressOf(root, 'project');
  const admin = new pg.Pool({ connectionString: databaseUrl, max: 4 });
  const sender = real ? undefined : startPgNet(root);
  return {
    transport: 'pg_net', databaseUrl, admin, configOptions: ['--to', 'portable'],
    // The stand-in is no process of the server.
    isExpected: (check) => !real && check === 'pg_net_worker',
    harvest: () => admin.query('SELECT wee5_cron.harvest()'),
    stop: async () => {
      await sender?.stop();
      await admin.end();
    },
  };
}

// The function that people write for pg_net. Calls a route with it, and returns the answer's status and text.
export async function callByHandWrittenFunction(admin, url, secret, path) {
  await admin.query(/create or replace function[^]*?\n\$\$;/i.exec(handwritten)[0]);
  const client = await admin.connect();
  try {
    await client.query("SELECT set_config('app.settings.api_url', $1, false), set_config('app.settings.cron_secret', $2, false)", [url, secret]);
    await client.query('SELECT public.invoke_cron_endpoint($1)', [path]);
    await client.query('RESET app.settings.api_url; RESET app.settings.cron_secret');
  } finally {
    client.release();
  }
  let answer;
  while (answer === undefined) [answer] = await rowsOf(admin, 'SELECT status_code, content FROM net._http_response ORDER BY id DESC LIMIT 1');
  await admin.query('DROP FUNCTION public.invoke_cron_endpoint(text)');
  return answer;
}
