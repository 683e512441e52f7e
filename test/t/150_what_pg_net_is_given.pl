# The contract of the pg_net transport, tested with a stand-in that has pg_net's signatures and tables but sends nothing: what
# goes into its queue, and how the answers that the test inserts are recorded.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test fixtures => ['pg_net'];

use JSON::PP;

my $node = Wee5Cron::Node->new_configured('main');
$node->start;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $secret   = 'canary-for-pg-net';
$node->safe_psql('postgres', "CREATE EXTENSION pg_net VERSION 'wee5fixture'");
$node->install('postgres', api_url => 'https://app.example/prefix', secret => $secret);
$node->safe_psql('postgres', "ALTER DATABASE postgres SET wee5_cron.transport = 'pg_net'");

# The request that pg_net got for a call.
sub request_of {
    my ($id) = @_;
    return $node->one_row('postgres', <<SQL);
SELECT q.id, q.method, q.url, q.headers, convert_from(q.body, 'UTF8') AS body, q.timeout_milliseconds
FROM net.http_request_queue q JOIN wee5_cron.pg_net_request r ON r.request_id = q.id WHERE r.invocation_id = $id
SQL
}

my $id  = $node->call('postgres', '/api/cron/poll-activities?x=1');
my $row = $node->invocation('postgres', $id);
my $request = request_of($id);
fields_are($request,
    { method => 'GET', url => 'https://app.example/prefix/api/cron/poll-activities?x=1', timeout_milliseconds => 60000 },
    "a call goes into pg_net's queue with its method, URL and timeout");
my %headers = map { lc $_ => $request->{headers}{$_} } keys %{ $request->{headers} };
fields_are(
    \%headers,
    {
        'authorization'          => "Bearer $secret",
        'cache-control'          => 'no-cache',
        'user-agent'             => qr{^wee5_cron/\d},
        'idempotency-key'        => $row->{idempotency_key},
        'x-wee5-cron-invocation' => $id,
        'x-wee5-cron-attempt'    => 1,
        'x-wee5-cron-timeout-ms' => 60000,
        'traceparent'            => qr/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/,
    },
    '... and its headers');
ok(!exists $headers{'content-type'}, '... and no Content-Type, since it has no body');
fields_are(
    $row,
    { status => 'queued', transport => 'pg_net', url => $request->{url}, first_sent_at => undef, finished_at => undef, duration => undef },
    '... and its row says queued');

$id = $node->call('postgres', '/post', qq{'POST', '{"a": [1]}', '{"X-Team": "blue"}', '1500 ms'});
$request = request_of($id);
fields_are($request, { method => 'POST', body => qr/^\{"a": ?\[1\]\}$/, timeout_milliseconds => 1500 }, "a POST goes into pg_net's queue with its body and timeout");
fields_are($request->{headers}, { 'X-Team' => 'blue', 'Content-Type' => 'application/json', 'X-Wee5-Cron-Timeout-Ms' => 1500 }, '... and headers');
$node->safe_psql('postgres', "SELECT wee5_cron.schedule('tasks', '0 0 1 1 *', '/_vercel/cron')");
$request = request_of($node->safe_psql('postgres', "SELECT wee5_cron.run_now('tasks')"));
fields_are($request->{headers},
    { 'X-Wee5-Cron-Job' => 'tasks', 'x-vercel-cron-schedule' => '0 0 1 1 *', 'X-Wee5-Cron-Scheduled-At' => qr/^20\d\d-.*Z$/ },
    'run_now() hands over the same request as the job would');
is(request_of($node->call('postgres', '/post', q{'POST'}))->{body}, '{}', 'a POST without a body sends {}');
$request = request_of($node->call('postgres', '/gone', q{'DELETE'}));
is($request->{method}, 'DELETE', "a DELETE goes into pg_net's queue as such");
ok(!exists $request->{headers}{'Content-Type'}, '... without a Content-Type if it has no body');
$request = request_of($node->call('postgres', '/agent', q{headers => '{"user-agent": "vercel-cron/1.0", "traceparent": "mine"}'}));
is(join(' ', sort grep { /^(?:user-agent|traceparent)$/i } keys %{ $request->{headers} }), 'traceparent user-agent', "a caller's User-Agent and traceparent replace ours");
$id = $node->safe_psql('postgres', "SET wee5_cron.trace = 'off'; SELECT invoke_cron_endpoint('/untraced')");
ok(!exists request_of($id)->{headers}{traceparent}, 'with wee5_cron.trace = off there is no traceparent');
for my $method (qw(PUT PATCH HEAD)) {
    $node->raises('postgres', "SELECT wee5_cron.invoke('/x', '$method')", '22023', "$method, which pg_net does not know, is an error",
        message => qr/^pg_net cannot send $method(?: with a body)?$/, hint => qr/wee5_cron\.transport = 'auto'/);
}
fields_are(request_of($node->call('postgres', '/gone', q{'DELETE', '{"a": 1}'})), { method => 'DELETE', body => qr/^\{"a": ?1\}$/ }, "a DELETE goes into pg_net's queue with its body");

# The documented queries, word for word.
my @seen = $node->rows('postgres', 'select * from net.http_request_queue order by id desc limit 10');
is($seen[-1]{url}, 'https://app.example/prefix/api/cron/poll-activities?x=1', 'select * from net.http_request_queue order by id desc limit 10');

# The caller's transaction.
my $count = 'SELECT (SELECT count(*) FROM net.http_request_queue), (SELECT count(*) FROM wee5_cron.invocation), (SELECT count(*) FROM wee5_cron.pg_net_request)';
my $before = $node->safe_psql('postgres', $count);
my $inside = $node->safe_psql('postgres', "BEGIN; SELECT invoke_cron_endpoint('/x') \\g /dev/null\n$count; ROLLBACK");
is($inside, join('|', map { $_ + 1 } split /\|/, $before), 'a call is in the queue at once, within its transaction');
is($node->safe_psql('postgres', $count), $before, 'a rollback removes it from queue and ledger');
$node->error_of('postgres', "BEGIN; SAVEPOINT a; SELECT invoke_cron_endpoint('/x'); ROLLBACK TO a; COMMIT");
is($node->safe_psql('postgres', $count), $before, 'an aborted savepoint removes it, too');

# The settings that apply are those at the time of the call.
$node->configure('postgres', api_url => 'https://other.example');
is(request_of($node->call('postgres', '/y'))->{url}, 'https://other.example/y', 'the next call uses a changed api_url');
$id = $node->safe_psql('postgres', "SET app.settings.cron_secret = 'of this session'; SELECT invoke_cron_endpoint('/z')");
is(request_of($id)->{headers}{Authorization}, 'Bearer of this session', 'with pg_net a SET of the secret in the session applies');

# pg_net's own grants let any role put a trigger on its queue. It would run with our rights and see the bearer.
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE mallory LOGIN;
CREATE SCHEMA loot AUTHORIZATION mallory;
SQL
$node->psql_as('mallory', 'postgres', <<'SQL');
CREATE TABLE loot.seen (who text, headers jsonb);
CREATE FUNCTION loot.take() RETURNS trigger LANGUAGE plpgsql AS
  $$BEGIN INSERT INTO loot.seen VALUES (current_user, NEW.headers); RETURN NEW; END$$;
SQL
my @traps = (
    [ 'a trigger', 'CREATE TRIGGER trap BEFORE INSERT ON net.http_request_queue FOR EACH ROW EXECUTE FUNCTION loot.take()',
        'DROP TRIGGER trap ON net.http_request_queue' ],
    [ 'a rule', 'CREATE RULE trap AS ON INSERT TO net.http_request_queue DO ALSO INSERT INTO loot.seen VALUES (current_user, NEW.headers)',
        'DROP RULE trap ON net.http_request_queue' ],
    [ 'a policy', 'CREATE POLICY trap ON net.http_request_queue WITH CHECK (headers IS NOT NULL)', 'DROP POLICY trap ON net.http_request_queue' ],
);
for my $trap (@traps) {
    my ($what, $set, $remove) = @$trap;
    $before = $node->safe_psql('postgres', $count);
    $node->safe_psql('postgres', $set);
    $node->raises('postgres', "SELECT invoke_cron_endpoint('/trapped')", '55000', "with $what on pg_net's queue a call is refused", hint => qr/\w/);
    is($node->safe_psql('postgres', $count), $before, '... and no request is handed over');
    $node->safe_psql('postgres', $remove);
    $node->call('postgres', '/free');
    pass('... and calls go on once the trigger is gone');
}
is($node->safe_psql('postgres', 'SELECT count(*) FROM loot.seen'), 0, 'no trigger saw the bearer');

# Answers, inserted where pg_net puts them. The worker harvests while calls are outstanding.
sub answered {
    my ($path, $columns, $values, %params) = @_;
    my $id = $node->call('postgres', $path, $params{invoke} // "'GET'");
    $node->safe_psql('postgres', <<SQL);
BEGIN;
INSERT INTO net._http_response (id, $columns) SELECT request_id, $values FROM wee5_cron.pg_net_request WHERE invocation_id = $id;
DELETE FROM net.http_request_queue q USING wee5_cron.pg_net_request r WHERE q.id = r.request_id AND r.invocation_id = $id;
COMMIT;
SQL
    return $node->finished('postgres', $id);
}
$node->no_retries('postgres', '/away', '/nowhere', '/lost');
my %common = (transport => 'pg_net', attempts => 1, first_sent_at => undef, duration => undef);
fields_are(answered('/ok', 'status_code, content_type, content', q{200, 'application/json', '{"ok":true}'}),
    { %common, status => 'succeeded', http_status => 200, reason => undef, error => undef, response_content_type => 'application/json', response_body => '{"ok":true}' },
    'an answer of 200 is a success');
fields_are(answered('/denied', 'status_code, content_type, content', q{401, 'text/plain', 'no'}),
    { %common, status => 'failed', reason => 'http', http_status => 401, hint => qr/cron_secret/ }, 'an answer of 401 is a failure that names cron_secret');
fields_are(answered('/broken', 'status_code, content_type, content', q{500, 'text/plain', 'oh'}),
    { %common, status => 'failed', reason => 'http', http_status => 500, error => qr/500/ }, 'an answer of 500 is a failure');
fields_are(answered('/away', 'error_msg', q{'Couldn''t connect to server'}),
    { %common, status => 'failed', reason => 'connect', http_status => undef, error => qr/\w/, hint => qr/\w/ }, 'a refused connection is a connect failure');
fields_are(answered('/nowhere', 'error_msg', q{'Couldn''t resolve host name'}), { %common, status => 'failed', reason => 'dns', http_status => undef }, 'an unknown host is a dns failure');
fields_are(answered('/slow', 'timed_out, error_msg', q{true, 'Timeout of 5000 ms reached. Total time: 5001.0 ms'}),
    { %common, status => 'failed', reason => 'timeout', http_status => undef, hint => qr/timeout/ }, 'a timeout is a timeout failure');
fields_are(answered('/big', 'status_code, content', q{200, repeat('x', 100000)}),
    { %common, status => 'succeeded', response_truncated => 1, response_body => qr/^x{8192}$/ }, 'a big response body is cut');
fields_are(answered('/leak', 'status_code, content', qq{500, 'you sent $secret'}),
    { %common, status => 'failed', response_body => qr/^(?!.*\Q$secret\E)/ }, 'a secret in an answer is redacted');

# An attempt that the ledger already has, as after a restore of one table alone.
{
    my @ids = map { $node->call('postgres', "/recorded-before?n=$_") } 1, 2;
    $node->safe_psql('postgres', <<SQL);
INSERT INTO wee5_cron.attempt (invocation_id, attempt, started_at, http_status) VALUES ($ids[0], 1, '2020-01-01', 500);
BEGIN;
INSERT INTO net._http_response (id, status_code, content) SELECT request_id, 200, 'ok' FROM wee5_cron.pg_net_request WHERE invocation_id IN ($ids[0], $ids[1]);
DELETE FROM net.http_request_queue q USING wee5_cron.pg_net_request r WHERE q.id = r.request_id AND r.invocation_id IN ($ids[0], $ids[1]);
COMMIT;
SQL
    fields_are($node->finished('postgres', $_), { %common, status => 'succeeded' }, 'an answer is recorded although its attempt is already in the ledger') for @ids;
    is(join(' ', map { $_->{http_status} } $node->attempts('postgres', $ids[0])), '500', '... and the existing attempt is unchanged');
}

# A request in neither of pg_net's tables is lost.
$id = $node->call('postgres', '/lost');
$node->safe_psql('postgres', "DELETE FROM net.http_request_queue q USING wee5_cron.pg_net_request r WHERE q.id = r.request_id AND r.invocation_id = $id");
fields_are($node->finished('postgres', $id), { %common, status => 'failed', reason => 'lost', http_status => undef, hint => qr/\w/ },
    "a call that is in neither of pg_net's tables is lost");
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.attempt WHERE invocation_id = $id AND reason = 'lost'"), 1, '... and its attempt says so too');
is($node->safe_psql('postgres', "SELECT status FROM wee5_cron.invocation WHERE endpoint_path = '/y'"), 'queued',
    "a call that is still in pg_net's queue stays queued");

is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation i WHERE to_json(i)::text LIKE '%$secret%'"), 0, 'the ledger does not contain the secret');

# A crash empties pg_net's queue, and so the table that links our calls to it.
$node->no_retries('postgres', '/crashed');
$id = $node->call('postgres', '/crashed');
$node->restart_immediately;
fields_are($node->finished('postgres', $id), { %common, status => 'failed', reason => 'lost', http_status => undef, hint => qr/\w/ },
    "a call that was in pg_net's queue at a crash is lost");

# auto: the stand-in has no worker, so calls use the builtin transport. A schema net that somebody else created is not
# pg_net.
$node->safe_psql('postgres', "ALTER DATABASE postgres SET wee5_cron.transport = 'auto'");
$node->configure('postgres', api_url => $receiver->url, secret => 'the secret');
fields_are($node->finished('postgres', $node->call('postgres', '/auto')), { transport => 'builtin', status => 'succeeded' },
    'with transport auto, pg_net without its worker is not used');
$node->install('planted', api_url => $receiver->url, secret => 'the secret');
$node->safe_psql('planted', <<'SQL');
CREATE SCHEMA net;
CREATE TABLE net.loot (headers jsonb);
CREATE UNLOGGED TABLE net.http_request_queue (id bigserial, method text, url text, headers jsonb, body bytea, timeout_milliseconds int);
CREATE UNLOGGED TABLE net._http_response (id bigint, status_code int, content_type text, headers jsonb, content text, timed_out bool, error_msg text, created timestamptz);
CREATE FUNCTION net.http_get(url text, params jsonb DEFAULT '{}', headers jsonb DEFAULT '{}', timeout_milliseconds int DEFAULT 5000)
  RETURNS bigint LANGUAGE sql AS $$ INSERT INTO net.loot VALUES (headers); SELECT 1::bigint $$;
SQL
fields_are($node->finished('planted', $node->call('planted', '/planted')), { transport => 'builtin', status => 'succeeded' },
    'a schema net that does not belong to pg_net is not used');
$node->raises('planted', "SET wee5_cron.transport = 'pg_net'; SELECT invoke_cron_endpoint('/planted')", '55000', 'an explicit transport = pg_net refuses a schema net that does not belong to pg_net');
is($node->safe_psql('planted', 'SELECT count(*) FROM net.loot'), 0, '... and hands it nothing');

$node->log_is_sane;
done_testing();
