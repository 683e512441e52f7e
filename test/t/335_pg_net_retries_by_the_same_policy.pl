# Calls over pg_net are retried and cancelled like those of the worker. The fixture in test/support takes pg_net's place,
# and the test inserts the answers by hand.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test fixtures => [ 'pg_net', 'supabase_vault' ];
use Wee5Cron::Editions;

my $secret = 'canary-of-the-second-try';
my $node   = Wee5Cron::Editions->start_on_pg_net('main', api_url => 'https://app.example.com', secret => $secret);

# Waits for the request in pg_net's queue for a call, and returns it.
sub request_of {
    my ($id) = @_;
    my $from = "FROM net.http_request_queue q JOIN wee5_cron.pg_net_request r ON r.request_id = q.id WHERE r.invocation_id = $id";
    $node->poll_query_until('postgres', "SELECT count(*) = 1 $from") or die "call $id is not in pg_net's queue\n";
    return $node->one_row('postgres', "SELECT q.id, q.url, q.headers, r.handed_over_at $from");
}

# pg_net's answer to it.
sub answer {
    my ($id, $columns, $values) = @_;
    my $request = request_of($id);
    $node->safe_psql('postgres', <<SQL);
BEGIN;
INSERT INTO net._http_response (id, $columns) VALUES ($request->{id}, $values);
DELETE FROM net.http_request_queue WHERE id = $request->{id};
COMMIT;
SQL
    return $request;
}
# Makes the next attempt of a waiting call due now. This alone decides when it is made, however busy the machine is.
sub make_next_attempt {
    my ($id) = @_;
    $node->safe_psql('postgres', "UPDATE wee5_cron.invocation SET next_attempt_at = now() WHERE id = $id; SELECT wee5_cron.wake_worker()");
    return;
}
my @refused = ('error_msg', q{'Couldn''t connect to server'});
my @good    = ('status_code', 200);

# Retries, by the same policy as with the builtin transport.
$node->policy('postgres', '/down', retry_delays => '{100ms}', max_attempts => 3);
my $id    = $node->call('postgres', '/down');
my $first = answer($id, @refused);
my $row   = $node->invocation_when('postgres', $id, 'attempts = 1');
fields_are($row, { status => 'retrying', reason => 'connect', finished_at => undef, transport => 'pg_net' }, 'a call that pg_net could not connect is retried');
my $second = request_of($id);
isnt($second->{id}, $first->{id}, '... as another request of pg_net');
fields_are($second->{headers}, { 'X-Wee5-Cron-Attempt' => 2, 'X-Wee5-Cron-Invocation' => $id, 'Idempotency-Key' => $row->{idempotency_key}, Authorization => "Bearer $secret" },
    '... with its attempt number, the same Idempotency-Key and the bearer');
is($first->{headers}{'Idempotency-Key'}, $row->{idempotency_key}, '... which is also the key in the row');
fields_are($node->invocation('postgres', $id), { status => 'retrying', next_attempt_at => undef }, '... and the call waits for its answer');
answer($id, @good);
fields_are($node->finished('postgres', $id), { status => 'succeeded', attempts => 2, http_status => 200, reason => undef, error => undef }, '... which ends the call');
my @attempts = $node->attempts('postgres', $id);
is_deeply([ map { "$_->{attempt} " . ($_->{reason} // 'ok') } @attempts ], [ '1 connect', '2 ok' ], 'each attempt through pg_net has its row');
is($attempts[0]{started_at}, $row->{requested_at}, '... and the first attempt starts with the call');
is($attempts[1]{started_at}, $second->{handed_over_at}, '... and a later attempt starts when it is handed over');

$id = $node->call('postgres', '/down');
answer($id, @refused) for 1 .. 3;
fields_are($node->finished('postgres', $id), { status => 'failed', attempts => 3, reason => 'connect' }, 'a call through pg_net fails after its last attempt');

# A call that the app may have processed is final, unless the policy allows more. With `never`, every call is.
$id = $node->call('postgres', '/worked');
answer($id, 'status_code', 500);
fields_are($node->finished('postgres', $id), { status => 'failed', attempts => 1 }, 'unprocessed: a 500 is not retried');
$node->policy('postgres', '/transient', retry_delays => '{0}', retry_on => 'transient');
$id = $node->call('postgres', '/transient');
answer($id, 'timed_out, error_msg', q{true, 'Timeout of 5000 ms reached'});
answer($id, @good);
fields_are($node->finished('postgres', $id), { status => 'succeeded', attempts => 2 }, 'transient: a timeout is retried');
$node->policy('postgres', '/never', retry_delays => '{0}', retry_on => 'never');
$id = $node->call('postgres', '/never');
$node->safe_psql('postgres', 'DELETE FROM net.http_request_queue WHERE true');
fields_are($node->finished('postgres', $id), { status => 'failed', reason => 'lost', attempts => 1 }, 'never: a call that pg_net lost is lost');

# Calls that pg_net lost: its queue is not crash-safe, ours is.
$node->policy('postgres', '/lost', retry_delays => '{0}');
$id = $node->call('postgres', '/lost');
# Loses the request as a crash does.
$node->safe_psql('postgres', 'BEGIN; DELETE FROM net.http_request_queue WHERE true; DELETE FROM wee5_cron.pg_net_request WHERE true; COMMIT');
answer($id, @good);
fields_are($node->finished('postgres', $id), { status => 'succeeded', attempts => 2 }, 'a call that pg_net lost in a crash is retried');
$id = $node->call('postgres', '/lost');
$node->safe_psql('postgres', 'DELETE FROM net.http_request_queue WHERE true');
fields_are($node->finished('postgres', $id), { status => 'failed', reason => 'lost', attempts => 1, error => qr/\(pg_net has neither the request nor an answer: one of them was deleted\)/ },
    '... but not one whose request was deleted, since the app may have done its work');

# pg_net's ids start again while old answers are still there: TRUNCATE ... RESTART IDENTITY does that. Then a request has the id
# of an older one.
$id = $node->call('postgres', '/worked');
my $old = answer($id, @good);
$node->finished('postgres', $id);
$node->safe_psql('postgres', "SELECT setval('net.http_request_queue_id_seq', $old->{id}, false)");
$id = $node->call('postgres', '/worked');
is(request_of($id)->{id}, $old->{id}, 'a request has the id of an older one');
$node->safe_psql('postgres', 'SELECT wee5_cron.harvest()');
fields_are($node->invocation('postgres', $id), { status => qr/^(?:queued|sending)$/, http_status => undef }, '... whose answer is not taken for its own');
answer($id, 'status_code', 500);
fields_are($node->finished('postgres', $id), { status => 'failed', http_status => 500 }, '... and which is not recorded when its own answer has come');

# Retry-After, whatever the header's case.
for my $name ('Retry-After', 'retry-after') {
    $node->policy('postgres', '/busy', retry_delays => '{10min}');
    $id = $node->call('postgres', '/busy');
    answer($id, 'status_code, headers', qq{503, '{"content-type": "text/plain", "$name": "3600"}'});
    $node->invocation_when('postgres', $id, "status = 'retrying'");
    is($node->safe_psql('postgres', "SELECT i.next_attempt_at BETWEEN a.finished_at + '50 min' AND i.requested_at + '1 h' FROM wee5_cron.invocation i JOIN wee5_cron.attempt a ON a.invocation_id = i.id WHERE i.id = $id"),
        't', "$name is respected up to the end of the retry window");
    is($node->safe_psql('postgres', "SELECT wee5_cron.cancel($id)"), 't', '... and the call can be cancelled meanwhile');
    fields_are($node->invocation('postgres', $id), { status => 'cancelled', reason => 'cancelled', next_attempt_at => undef, attempts => 1 }, '... and ends at once');
}

# The next attempt uses the address and secret of its own time.
$node->policy('postgres', '/moves', retry_delays => '{10min}');
$id = $node->call('postgres', '/moves');
answer($id, @refused);
$node->invocation_when('postgres', $id, "status = 'retrying'");
$node->configure('postgres', api_url => 'https://www.example.com/base', secret => "$secret-2");
make_next_attempt($id);
$second = request_of($id);
fields_are({ %$second, bearer => $second->{headers}{Authorization} }, { url => 'https://www.example.com/base/moves', bearer => "Bearer $secret-2" }, 'a retry uses a changed address and secret');
answer($id, @refused);
$node->invocation_when('postgres', $id, 'attempts = 2 AND next_attempt_at IS NOT NULL');
$node->forget_secret('postgres');
make_next_attempt($id);
fields_are($node->finished('postgres', $id), { status => 'failed', reason => 'config', attempts => 2, error => qr/cron_secret/, hint => qr/\w/ }, 'a retry without a secret fails with reason config');
$node->configure('postgres', secret => $secret);

# harvest() may be called before the time for which the worker has set its timer. The worker still records the answer.
$id = $node->call('postgres', '/moves');
answer($id, @refused);
$node->invocation_when('postgres', $id, "status = 'retrying'");
$node->safe_psql('postgres', "UPDATE wee5_cron.invocation SET next_attempt_at = now() WHERE id = $id; SELECT wee5_cron.harvest()");
answer($id, @good);
fields_are($node->finished('postgres', $id), { status => 'succeeded', attempts => 2 }, 'the answer of a retry that harvest() handed over early is recorded');

# The policy, too, is the one at the time of the attempt.
my %ends = ('/now-never' => "INSERT INTO wee5_cron.endpoint (endpoint_path, retry_on) VALUES ('/now-never', 'never')", '/too-late' => "UPDATE wee5_cron.invocation SET requested_at = requested_at - interval '67 min' WHERE id = %s");
for my $path (sort keys %ends) {
    $id = $node->call('postgres', $path);
    answer($id, @refused);
    $node->invocation_when('postgres', $id, "status = 'retrying'");
    $node->safe_psql('postgres', sprintf($ends{$path}, $id));
    make_next_attempt($id);
    fields_are($node->finished('postgres', $id), { status => 'failed', reason => 'connect', attempts => 1, error => qr/\w/, next_attempt_at => undef }, "$path: an attempt that the policy no longer allows is not made");
    is($node->safe_psql('postgres', "SELECT failures FROM wee5_cron.trouble WHERE name = '$path'"), 1, '... and counts as a failure of the path');
}

# No role can interfere: a trigger on pg_net's queue would see the bearer.
$node->policy('postgres', '/trapped', retry_delays => '{0}');
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE seen (who text);
CREATE FUNCTION take() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO public.seen VALUES (current_user); RETURN coalesce(NEW, OLD); END$$;
SQL
$id = $node->call('postgres', '/trapped');
my $kept = $node->call('postgres', '/kept');
$first = request_of($id);
$node->safe_psql('postgres', <<SQL);
BEGIN;
DELETE FROM net.http_request_queue WHERE id = $first->{id};
INSERT INTO net._http_response (id, status_code) VALUES ($first->{id}, 503);
CREATE TRIGGER trap BEFORE INSERT OR DELETE ON net.http_request_queue FOR EACH ROW EXECUTE FUNCTION take();
COMMIT;
SQL
fields_are($node->finished('postgres', $id), { status => 'failed', reason => 'config', error => qr/trigger/, hint => qr/\w/ }, "with a trigger on pg_net's queue no retry is handed over");
$node->raises('postgres', "SELECT wee5_cron.cancel($kept)", '55000', '... and cancel() is an error', message => qr/trigger/);
$node->as_superuser('postgres', 'DROP TRIGGER trap ON net.http_request_queue');
is($node->safe_psql('postgres', 'SELECT count(*) FROM seen'), 0, '... and the trigger saw no request');

# cancel() takes back a request in the queue. It cannot take back one that pg_net has already taken.
is($node->safe_psql('postgres', "SELECT wee5_cron.cancel($kept)"), 't', "cancel() takes a request back from pg_net's queue");
fields_are($node->invocation('postgres', $kept), { status => 'cancelled', reason => 'cancelled', attempts => 0, error => qr{^The call of /\S+ was cancelled\.$} }, '... and the call ends at once');
is($node->safe_psql('postgres', 'SELECT (SELECT count(*) FROM net.http_request_queue) + (SELECT count(*) FROM wee5_cron.pg_net_request)'), 0, '... and no request is left');
$id    = $node->call('postgres', '/taken');
$first = request_of($id);
my $pg_net = $node->background_psql('postgres');
$pg_net->query_safe("BEGIN; DELETE FROM net.http_request_queue WHERE id = $first->{id}");
my ($status, $stdout, $stderr) = $node->psql('postgres', "SELECT wee5_cron.cancel($id)");
is($stdout, 'f', 'cancel() of a request that pg_net is sending returns false');
like($stderr, qr/NOTICE:.*\b$id\b.*sending/, '... and a NOTICE says why');
$pg_net->query_safe("INSERT INTO net._http_response (id, status_code) VALUES ($first->{id}, 200); COMMIT");
$pg_net->quit;
is($node->finished('postgres', $id)->{status}, 'succeeded', '... and its answer is recorded');
is($node->safe_psql('postgres', "SELECT wee5_cron.cancel($id)"), 'f', 'cancel() of a call that has ended returns false');

# retry(): the same call again.
my $again = $node->safe_psql('postgres', "SELECT wee5_cron.retry($id)");
$second = request_of($again);
fields_are($second->{headers}, { 'Idempotency-Key' => $node->invocation('postgres', $id)->{idempotency_key}, 'X-Wee5-Cron-Invocation' => $again, 'X-Wee5-Cron-Attempt' => 1 },
    'retry() hands the call over again, with the same Idempotency-Key');
is($node->invocation('postgres', $again)->{idempotency_key}, $second->{headers}{'Idempotency-Key'}, '... which is also the key of the new row');

# harvest() reads new answers, not the hundred thousand old ones, and none of pg_net's tables while no call is outstanding.
answer($again, @good);
$node->wait_until_all_finished('postgres');
$node->safe_psql('postgres', q{INSERT INTO net._http_response (id, status_code, created) SELECT 1000000 + n, 200, now() - interval '3 hours' FROM generate_series(1, 100000) n});
$node->as_superuser('postgres', 'VACUUM ANALYZE net._http_response');
sub blocks_read {
    my ($before) = @_;
    # In one transaction, which the worker does not see. Otherwise it would harvest as well.
    return $node->safe_psql('postgres', <<"SQL") =~ s/.*\n//sr;
BEGIN;
CREATE FUNCTION pg_temp.blocks() RETURNS numeric LANGUAGE sql AS \$\$
  SELECT sum(pg_stat_get_xact_blocks_fetched(r.oid)) FROM (
    SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'net'::regnamespace AND c.relkind = 'r'
    UNION ALL SELECT i.indexrelid FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE c.relnamespace = 'net'::regnamespace) r \$\$;
$before
CREATE TEMP TABLE b AS SELECT pg_temp.blocks() AS n;
SELECT wee5_cron.harvest();
SELECT concat_ws(' ', pg_temp.blocks() - n, (SELECT status FROM wee5_cron.invocation WHERE endpoint_path = '/cheap')) FROM b;
ROLLBACK;
SQL
}
is(blocks_read(''), 0, "with no outstanding call harvest() reads none of pg_net's tables");
my $answered = <<'SQL';
SELECT invoke_cron_endpoint('/cheap');
WITH sent AS (DELETE FROM net.http_request_queue WHERE true RETURNING id) INSERT INTO net._http_response (id, status_code) SELECT id, 200 FROM sent;
SQL
my $whole = $node->safe_psql('postgres', "SELECT relpages FROM pg_class WHERE oid = 'net._http_response'::regclass");
cmp_ok($whole, '>', 500, 'reading a hundred thousand old answers takes many blocks');
my ($blocks, $became) = split / /, blocks_read($answered);
is($became, 'succeeded', 'harvest() records a new answer among them');
cmp_ok($blocks, '<', 50, '... and does not read the old ones');

# When pg_net is dropped and created again, its ids start anew: another program's request has the number that ours had.
$node->no_retries('postgres', '/made-again');
$id    = $node->call('postgres', '/made-again');
$first = request_of($id);
$node->as_superuser('postgres', <<"SQL");
BEGIN;
DROP EXTENSION pg_net;
CREATE EXTENSION pg_net VERSION 'wee5fixture';
INSERT INTO net._http_response (id, status_code) VALUES ($first->{id}, 200);
COMMIT;
SQL
fields_are($node->finished('postgres', $id), { status => 'failed', reason => 'lost' }, 'an answer of a pg_net that was created again is not recorded for our call');

# After a 401, the same attempt again with the previous secret, whatever the policy says.
my $newer = 'canary-of-the-new-secret';
$node->safe_psql('postgres', "SELECT wee5_cron.configure('https://app.example.com', '$_')") for $secret, $newer;
my @unauthorized = ('status_code, content', "401, 'neither $newer nor $secret'");
$node->policy('postgres', '/rotated', retry_on => 'never');
$id     = $node->call('postgres', '/rotated');
$first  = answer($id, @unauthorized);
is($first->{headers}{Authorization}, "Bearer $newer", 'a call carries the new secret');
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM wee5_cron.pg_net_request WHERE invocation_id = $id AND request_id <> $first->{id}")
  or die 'the call was not handed over again';
$second = answer($id, @good);
fields_are($second->{headers}, { Authorization => "Bearer $secret", 'X-Wee5-Cron-Attempt' => 1, 'Idempotency-Key' => $first->{headers}{'Idempotency-Key'} }, 'after a 401 the call is handed over again with the previous secret');
fields_are($node->finished('postgres', $id), { status => 'succeeded', attempts => 1, http_status => 200, hint => qr/^The app answered 401 .* accepted the previous one/ }, '... and its row says so');
is_deeply([ map { "$_->{attempt} $_->{http_status}" } $node->attempts('postgres', $id) ], ['1 200'], '... and it counts as one attempt');
$id    = $node->call('postgres', '/rotated');
$first = answer($id, @unauthorized);
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM wee5_cron.pg_net_request WHERE invocation_id = $id AND request_id <> $first->{id}")
  or die 'the call was not handed over again';
answer($id, @unauthorized);
fields_are($node->finished('postgres', $id), { status => 'failed', attempts => 1, http_status => 401, response_body => 'neither [secret] nor [secret]', hint => qr/did not accept the bearer secret/ }, 'the previous secret is tried only once');
$id    = $node->call('postgres', '/rotated');
$first = answer($id, @unauthorized);
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM wee5_cron.pg_net_request WHERE invocation_id = $id AND request_id <> $first->{id}")
  or die 'the call was not handed over again';
answer($id, 'status_code, headers', q{202, '{"Wee5-Cron": "accepted"}'});
fields_are($node->invocation_when('postgres', $id, "status = 'accepted'"), { hint => qr/accepted the previous one/ }, 'the row of an accepted call says that the previous secret was accepted');
is($node->safe_psql('postgres', "SELECT status FROM wee5_cron.doctor() WHERE check_name = 'cron_secret_previous'"), 'warning', '... and doctor() warns that the app expects the previous secret');
$node->safe_psql('postgres', "SELECT wee5_cron.complete('$first->{headers}{'Idempotency-Key'}')");
fields_are($node->finished('postgres', $id), { status => 'succeeded', hint => qr/accepted the previous one/ }, '... and the row still says so once the work is complete');
$node->safe_psql('postgres', "SELECT wee5_cron.configure('https://app.example.com', '$newer', keep_previous => false)");
$id = $node->call('postgres', '/rotated');
answer($id, status_code => 401);
fields_are($node->finished('postgres', $id), { status => 'failed', attempts => 1, http_status => 401 }, 'without a previous secret the 401 ends the call');

# A target has an address, a secret and headers of its own, and a previous secret, too.
$node->safe_psql('postgres', "SELECT wee5_cron.configure_target('billing', 'https://billing.example.com', '$_', header => 'X-Api-Key', prefix => 'Key ', headers => '{\"X-Bypass\": \"$secret-bypass\"}')") for "$secret-of-billing", "$newer-of-billing";
@unauthorized = ('status_code, content', "401, '$newer-of-billing, $secret-of-billing, $secret-bypass'");
$id    = $node->call('postgres', 'billing:/rotated');
$first = answer($id, @unauthorized);
is($first->{url}, 'https://billing.example.com/rotated', "a call of a target goes to the target's address");
is($first->{headers}{Authorization}, undef, "... without the app's secret");
fields_are($first->{headers}, { 'X-Api-Key' => "Key $newer-of-billing", 'X-Bypass' => "$secret-bypass" }, '... with the secret and the headers of the target');
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM wee5_cron.pg_net_request WHERE invocation_id = $id AND request_id <> $first->{id}")
  or die 'the call was not handed over again';
$second = answer($id, @unauthorized);
fields_are($second->{headers}, { 'X-Api-Key' => "Key $secret-of-billing", 'X-Bypass' => "$secret-bypass", 'X-Wee5-Cron-Attempt' => 1 }, "after a 401 the call is handed over again with the target's previous secret");
fields_are($node->finished('postgres', $id), { status => 'failed', response_body => '[secret], [secret], [secret]', hint => qr/the secret of target "billing"/ }, '... and its answer shows no secret');

is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation i WHERE to_json(i)::text LIKE '%$secret%'"), 0, 'no row contains the secret');
# max_in_flight of a policy: how many of its calls pg_net has at once.
$node->policy('postgres', '/few', max_in_flight => 2);
$node->policy('postgres', '/few?own', note => 'without a limit');
my @few = split /\n/, $node->safe_psql('postgres', "SELECT invoke_cron_endpoint('/few?n=' || n) FROM generate_series(1, 5) n");
my $with_pg_net = sub { $node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.pg_net_request WHERE invocation_id IN (@{[ join ',', @few ]})") };
is($with_pg_net->(), 2, 'a policy limits how many calls are handed to pg_net at once');
request_of($node->call('postgres', '/few?own'));
pass('... and does not hold up a path with a policy of its own');
$node->safe_psql('postgres', 'SELECT wee5_cron.harvest()');
is($with_pg_net->(), 2, 'harvest() keeps to the limit');
answer($few[0], @good);
request_of($few[2]);
is($with_pg_net->(), 2, 'an answer makes room for the next call');
my $second_session = $node->background_psql('postgres');
$second_session->query_safe("BEGIN; SELECT invoke_cron_endpoint('/twice/few')");
$node->policy('postgres', '/twice/few', max_in_flight => 1);
$second_session->query_safe("SELECT invoke_cron_endpoint('/twice/few')");
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.pg_net_request WHERE invocation_id = @{[ $node->call('postgres', '/twice/few') ]}"), 0, 'while another transaction may hand over calls of the path, a call waits');
$second_session->query_safe('COMMIT');
$second_session->quit;
answer($_, @good) for @few[ 1 .. 4 ];
$node->finished('postgres', $_) for @few;
pass('all of them are made in the end');

# Two calls of a key that do not see each other: neither is sent if the other one is. A transaction that keeps its snapshot does not
# even see the call of one that has ended.
$node->as_superuser('postgres', 'TRUNCATE net._http_response');  # it has an answer to a request that pg_net has not got yet
my @sessions = map { $node->background_psql('postgres') } 1, 2;
$_->query_safe('SET client_min_messages = warning') for @sessions;
my $two_calls_lead_to_one = sub {
    my ($name, $older, $newer) = @_;
    ok($node->poll_query_until('postgres', "SELECT wee5_cron.harvest() >= 0 AND EXISTS (SELECT FROM wee5_cron.pg_net_request WHERE invocation_id = $newer) AND EXISTS (SELECT FROM wee5_cron.invocation WHERE id = $older AND status = 'cancelled')"), "$name: the newer call is sent");
    is($node->safe_psql('postgres', "SELECT string_agg(q.headers->>'X-Wee5-Cron-Invocation', ' ') FROM net.http_request_queue q WHERE q.headers->>'X-Wee5-Cron-Invocation' IN ('$older', '$newer')"), $newer, '... and the older one is not');
    fields_are($node->invocation('postgres', $older), { status => 'cancelled', error => "Call $newer, which has the same key, replaced this call." }, '... as its row says');
    answer($newer, @good);
    return fields_are($node->finished('postgres', $newer), { status => 'succeeded', attempts => 1 }, '... and the newer one ends');
};
for my $order ([ 0, 1 ], [ 1, 0 ]) {
    my @pair = map { $_->query_safe("BEGIN; SELECT wee5_cron.invoke('/one-of-two', key => 'two')") } @sessions;
    $_->query_safe('COMMIT') for @sessions[@$order];
    $two_calls_lead_to_one->("two calls of a key at once (@$order)", @pair);
}
(pop @sessions)->quit;
for my $level ('REPEATABLE READ', 'SERIALIZABLE') {
    $sessions[0]->query_safe("BEGIN ISOLATION LEVEL $level; SELECT count(*) FROM wee5_cron.endpoint");
    my $older = $node->call('postgres', '/one-of-two', "key => 'two'");
    request_of($older);
    my $newer = $sessions[0]->query_safe("SELECT wee5_cron.invoke('/one-of-two', key => 'two')");
    is($sessions[0]->query_safe("SELECT count(*) FROM wee5_cron.pg_net_request WHERE invocation_id = $newer"), 0, "$level: a call with a key waits for harvest()");
    $sessions[0]->query_safe('COMMIT');
    $two_calls_lead_to_one->($level, $older, $newer);
    # Likewise the limit of a path, and overlap.
    for my $policy ([ '/twice/limited', max_in_flight => 1 ], [ '/alone/at/once', overlap => 'skip' ]) {
        $node->policy('postgres', @$policy);
        $sessions[0]->query_safe("BEGIN ISOLATION LEVEL $level; SELECT count(*) FROM wee5_cron.endpoint");
        my $sent = $node->call('postgres', $policy->[0]);
        request_of($sent);
        my $second = $sessions[0]->query_safe("SELECT invoke_cron_endpoint('$policy->[0]')");
        $sessions[0]->query_safe('COMMIT');
        $node->safe_psql('postgres', 'SELECT wee5_cron.harvest()');
        is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.pg_net_request WHERE invocation_id = $second"), 0, "... and so does one with $policy->[1]");
        answer($sent, @good);
        answer($second, @good) if $policy->[1] eq 'max_in_flight';
        fields_are($node->finished('postgres', $second), { status => $policy->[1] eq 'overlap' ? 'skipped' : 'succeeded' }, '... which then obeys its policy');
    }
}
$sessions[0]->quit;

# A secret that is not stored any more when the answer comes cannot be struck out, so no text of that answer is kept. (502 tests
# this on the portable edition.)
unless ($node->is_portable) {
    my $not_kept = '[not kept: a secret of this call is not stored any more, so it could not be struck out]';
    my $by_hand  = q{vault.secrets WHERE name = 'cron_secret'};
    my $stored   = 'ALTER DATABASE postgres SET app.settings.cron_secret =';
    my $target   = sub { "SELECT wee5_cron.configure_target('leaking', 'https://leaking.example.com', '$_[0]', headers => '{\"X-Bypass\": \"$_[1]\", \"X-Switch\": \"on\"}')" };
    $node->safe_psql('postgres', "CREATE EXTENSION supabase_vault VERSION 'wee5fixture'");
    for my $case (
        [ 'of Vault was replaced by hand', 'vault', '/leaks', "SELECT vault.update_secret((SELECT id FROM $by_hand), 'another-secret-than-before')", $not_kept ],
        [ 'of Vault was deleted',          'vault', '/leaks', "DELETE FROM $by_hand",                                                                  $not_kept ],
        [ 'of Vault is still there',       'vault', '/leaks', 'SELECT 1',                                                                              '[secret]' ],
        [ 'of the database was replaced by hand', 'database', '/leaks', "$stored 'another-secret-than-before'",                                       $not_kept ],
        [ 'of the database is still there', 'database', '/leaks', "$stored '$secret-stored'",                                                         '[secret]' ],
        [ 'is only in a session',           'session', '/leaks', 'SELECT 1',                                                                              $not_kept ],
        [ 'of a target was replaced once',  'database', 'leaking:/leaks', $target->("$secret-new", "$secret-y"),                                      '[secret]' ],
        [ 'of a target was replaced twice', 'database', 'leaking:/leaks', join(';', map { $target->("$secret-$_", "$secret-y") } 'new', 'newer'),     $not_kept ],
        [ 'in a header of a target was replaced', 'database', 'leaking:/leaks', $target->("$secret-stored", "$secret-z"),                             $not_kept ],
      ) {
        my ($what, $store, $path, $change, $body) = @$case;
        $node->forget_secret('postgres');
        $node->safe_psql('postgres', "DELETE FROM $by_hand");
        $node->safe_psql('postgres', "SELECT wee5_cron.drop_target('leaking')") if $path =~ /:/;
        $node->safe_psql('postgres', $path =~ /:/ ? $target->("$secret-stored", "$secret-y") : 'SELECT 1');
        $node->safe_psql('postgres', $store eq 'vault' ? "SELECT vault.create_secret('$secret-stored', 'cron_secret')" : "$stored '@{[ $path =~ /:/ || $store eq 'session' ? 'of-the-app-itself' : qq($secret-stored) ]}'");
        $id = $node->safe_psql('postgres', ($store eq 'session' ? "SET app.settings.cron_secret = '$secret-stored';" : '') . "SELECT invoke_cron_endpoint('$path')");
        is(request_of($id)->{headers}{Authorization}, "Bearer $secret-stored", 'a call carries the secret');
        $node->safe_psql('postgres', $change);
        answer($id, 'status_code, content_type, content', "200, 'text/plain; $secret-stored', '$secret-stored'");
        fields_are($node->finished('postgres', $id), { status => 'succeeded', http_status => 200, response_body => $body }, "an answer to a call whose secret $what");
        is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation i WHERE strpos(i::text, '$secret-stored') > 0"), 0, '... does not bring it into the ledger');
    }
}

$node->log_is_sane;
done_testing();
