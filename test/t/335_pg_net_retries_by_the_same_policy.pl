# Calls over pg_net are retried and cancelled like those of the worker. The fixture in test/support takes pg_net's place,
# and the test inserts the answers by hand.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test fixtures => ['pg_net'];

my $secret = 'canary-of-the-second-try';
my $node   = Wee5Cron::Node->start_new('main');
$node->safe_psql('postgres', "CREATE EXTENSION pg_net VERSION 'wee5fixture'");
$node->install('postgres', api_url => 'https://app.example.com', secret => $secret);
$node->safe_psql('postgres', "ALTER DATABASE postgres SET wee5_cron.transport = 'pg_net'");

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
# The next attempt of a waiting call is due now. This alone decides when it is made, however busy the machine is.
sub make_next_attempt {
    my ($id) = @_;
    $node->safe_psql('postgres', "UPDATE wee5_cron.invocation SET next_attempt_at = now() WHERE id = $id; SELECT wee5_cron.wake_worker()");
    return;
}
my @refused = ('error_msg', q{'Couldn''t connect to server'});
my @good    = ('status_code', 200);

# Again and again, by the same policy as on builtin.
$node->policy('postgres', '/down', retry_delays => '{100ms}', max_attempts => 3);
my $id    = $node->call('postgres', '/down');
my $first = answer($id, @refused);
my $row   = $node->invocation_when('postgres', $id, 'attempts = 1');
fields_are($row, { status => 'retrying', reason => 'connect', finished_at => undef, transport => 'pg_net' }, 'a call that pg_net could not connect is made again');
my $second = request_of($id);
isnt($second->{id}, $first->{id}, '... as a request of its own');
fields_are($second->{headers}, { 'X-Wee5-Cron-Attempt' => 2, 'X-Wee5-Cron-Invocation' => $id, 'Idempotency-Key' => $row->{idempotency_key}, Authorization => "Bearer $secret" },
    '... with its number, the same idempotency key and the bearer');
is($first->{headers}{'Idempotency-Key'}, $row->{idempotency_key}, '... which the first one had');
fields_are($node->invocation('postgres', $id), { status => 'retrying', next_attempt_at => undef }, '... and waits for its answer');
answer($id, @good);
fields_are($node->finished('postgres', $id), { status => 'succeeded', attempts => 2, http_status => 200, reason => undef, error => undef }, '... which ends the call');
my @attempts = $node->attempts('postgres', $id);
is_deeply([ map { "$_->{attempt} " . ($_->{reason} // 'ok') } @attempts ], [ '1 connect', '2 ok' ], 'each attempt has its row');
is($attempts[0]{started_at}, $row->{requested_at}, '... the first one since it was asked for');
is($attempts[1]{started_at}, $second->{handed_over_at}, '... a later one since it was handed over');

$id = $node->call('postgres', '/down');
answer($id, @refused) for 1 .. 3;
fields_are($node->finished('postgres', $id), { status => 'failed', attempts => 3, reason => 'connect' }, 'after the last attempt a call has failed');

# A call that the app may have processed is final, unless the policy allows more. With `never`, every call is.
$id = $node->call('postgres', '/worked');
answer($id, 'status_code', 500);
fields_are($node->finished('postgres', $id), { status => 'failed', attempts => 1 }, 'unprocessed: 500 is final');
$node->policy('postgres', '/transient', retry_delays => '{0}', retry_on => 'transient');
$id = $node->call('postgres', '/transient');
answer($id, 'timed_out, error_msg', q{true, 'Timeout of 5000 ms reached'});
answer($id, @good);
fields_are($node->finished('postgres', $id), { status => 'succeeded', attempts => 2 }, 'transient: a timeout is tried again');
$node->policy('postgres', '/never', retry_delays => '{0}', retry_on => 'never');
$id = $node->call('postgres', '/never');
$node->safe_psql('postgres', 'DELETE FROM net.http_request_queue');
fields_are($node->finished('postgres', $id), { status => 'failed', reason => 'lost', attempts => 1 }, 'never: what pg_net lost is lost');

# Lost by pg_net: its queue is not crash-safe, ours is.
$node->policy('postgres', '/lost', retry_delays => '{0}');
$id = $node->call('postgres', '/lost');
# As a crash does.
$node->safe_psql('postgres', 'BEGIN; DELETE FROM net.http_request_queue; DELETE FROM wee5_cron.pg_net_request; COMMIT');
answer($id, @good);
fields_are($node->finished('postgres', $id), { status => 'succeeded', attempts => 2 }, 'what pg_net lost is made again');
$id = $node->call('postgres', '/lost');
$node->safe_psql('postgres', 'DELETE FROM net.http_request_queue');
fields_are($node->finished('postgres', $id), { status => 'failed', reason => 'lost', attempts => 1, error => qr/\(pg_net has neither the request nor an answer: one of them was deleted\)/ },
    '... but not a request that somebody deleted, perhaps with its answer: the app may have done its work');

# Retry-After, whatever the header's case.
for my $name ('Retry-After', 'retry-after') {
    $node->policy('postgres', '/busy', retry_delays => '{10min}');
    $id = $node->call('postgres', '/busy');
    answer($id, 'status_code, headers', qq{503, '{"content-type": "text/plain", "$name": "3600"}'});
    $node->invocation_when('postgres', $id, "status = 'retrying'");
    is($node->safe_psql('postgres', "SELECT i.next_attempt_at BETWEEN a.finished_at + '50 min' AND i.requested_at + '1 h' FROM wee5_cron.invocation i JOIN wee5_cron.attempt a ON a.invocation_id = i.id WHERE i.id = $id"),
        't', "$name is honoured, up to the window's end");
    is($node->safe_psql('postgres', "SELECT wee5_cron.cancel($id)"), 't', '... and the call can be given up meanwhile');
    fields_are($node->invocation('postgres', $id), { status => 'cancelled', reason => 'cancelled', next_attempt_at => undef, attempts => 1 }, '... at once');
}

# The next attempt uses the address and secret of its own time.
$node->policy('postgres', '/moves', retry_delays => '{10min}');
$id = $node->call('postgres', '/moves');
answer($id, @refused);
$node->invocation_when('postgres', $id, "status = 'retrying'");
$node->configure('postgres', api_url => 'https://www.example.com/base', secret => "$secret-2");
make_next_attempt($id);
$second = request_of($id);
fields_are({ %$second, bearer => $second->{headers}{Authorization} }, { url => 'https://www.example.com/base/moves', bearer => "Bearer $secret-2" }, 'the next attempt follows a change of address and secret');
answer($id, @refused);
$node->invocation_when('postgres', $id, 'attempts = 2 AND next_attempt_at IS NOT NULL');
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET app.settings.cron_secret');
make_next_attempt($id);
fields_are($node->finished('postgres', $id), { status => 'failed', reason => 'config', attempts => 2, error => qr/cron_secret/, hint => qr/\w/ }, 'without a secret it fails, and says so');
$node->configure('postgres', secret => $secret);

# harvest() may be called before the time for which the worker has set its timer. The worker still records the answer.
$id = $node->call('postgres', '/moves');
answer($id, @refused);
$node->invocation_when('postgres', $id, "status = 'retrying'");
$node->safe_psql('postgres', "UPDATE wee5_cron.invocation SET next_attempt_at = now() WHERE id = $id; SELECT wee5_cron.harvest()");
answer($id, @good);
fields_are($node->finished('postgres', $id), { status => 'succeeded', attempts => 2 }, 'a retry that harvest() hands over by hand is booked');

# The policy, too, is the one of that time.
my %ends = ('/now-never' => "INSERT INTO wee5_cron.endpoint (endpoint_path, retry_on) VALUES ('/now-never', 'never')", '/too-late' => "UPDATE wee5_cron.invocation SET requested_at = requested_at - interval '67 min' WHERE id = %s");
for my $path (sort keys %ends) {
    $id = $node->call('postgres', $path);
    answer($id, @refused);
    $node->invocation_when('postgres', $id, "status = 'retrying'");
    $node->safe_psql('postgres', sprintf($ends{$path}, $id));
    make_next_attempt($id);
    fields_are($node->finished('postgres', $id), { status => 'failed', reason => 'connect', attempts => 1, error => qr/\w/, next_attempt_at => undef }, "$path: no attempt that the policy does not allow any more");
    is($node->safe_psql('postgres', "SELECT failures FROM wee5_cron.trouble WHERE name = '$path'"), 1, '... which is a failure');
}

# Nobody can interfere: a trigger on pg_net's queue would see the bearer.
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
fields_are($node->finished('postgres', $id), { status => 'failed', reason => 'config', error => qr/trigger/, hint => qr/\w/ }, "with a trigger on pg_net's queue nothing is handed over again");
$node->raises('postgres', "SELECT wee5_cron.cancel($kept)", '55000', '... nor taken back', message => qr/trigger/);
$node->safe_psql('postgres', 'DROP TRIGGER trap ON net.http_request_queue');
is($node->safe_psql('postgres', 'SELECT count(*) FROM seen'), 0, '... and the trigger saw nothing');

# cancel(): a request in the queue is taken back. One that pg_net has already taken is not.
is($node->safe_psql('postgres', "SELECT wee5_cron.cancel($kept)"), 't', 'a request that waits in the queue is taken back');
fields_are($node->invocation('postgres', $kept), { status => 'cancelled', reason => 'cancelled', attempts => 0, error => qr{^The call of /\S+ was cancelled\.$} }, '... at once');
is($node->safe_psql('postgres', 'SELECT (SELECT count(*) FROM net.http_request_queue) + (SELECT count(*) FROM wee5_cron.pg_net_request)'), 0, '... and nothing of it is left');
$id    = $node->call('postgres', '/taken');
$first = request_of($id);
my $pg_net = $node->background_psql('postgres');
$pg_net->query_safe("BEGIN; DELETE FROM net.http_request_queue WHERE id = $first->{id}");
my ($status, $stdout, $stderr) = $node->psql('postgres', "SELECT wee5_cron.cancel($id)");
is($stdout, 'f', 'a request that pg_net is sending cannot be taken back');
like($stderr, qr/NOTICE:.*\b$id\b.*sending/, '... and that is said');
$pg_net->query_safe("INSERT INTO net._http_response (id, status_code) VALUES ($first->{id}, 200); COMMIT");
$pg_net->quit;
is($node->finished('postgres', $id)->{status}, 'succeeded', '... its answer is booked');
is($node->safe_psql('postgres', "SELECT wee5_cron.cancel($id)"), 'f', 'a call that has ended cannot be given up');

# retry(): the same call again.
my $again = $node->safe_psql('postgres', "SELECT wee5_cron.retry($id)");
$second = request_of($again);
fields_are($second->{headers}, { 'Idempotency-Key' => $node->invocation('postgres', $id)->{idempotency_key}, 'X-Wee5-Cron-Invocation' => $again, 'X-Wee5-Cron-Attempt' => 1 },
    'retry() hands it over once more, with the same idempotency key');
is($node->invocation('postgres', $again)->{idempotency_key}, $second->{headers}{'Idempotency-Key'}, '... which the new row has, too');

# harvest() reads the new answers, not the hundred thousand old ones, and nothing of pg_net's while no call is outstanding.
answer($again, @good);
$node->wait_until_all_finished('postgres');
$node->safe_psql('postgres', q{INSERT INTO net._http_response (id, status_code, created) SELECT 1000000 + n, 200, now() - interval '3 hours' FROM generate_series(1, 100000) n});
$node->safe_psql('postgres', 'VACUUM ANALYZE net._http_response');
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
is(blocks_read(''), 0, 'with nothing outstanding harvest() does not look at what pg_net has');
my $answered = <<'SQL';
SELECT invoke_cron_endpoint('/cheap');
WITH sent AS (DELETE FROM net.http_request_queue RETURNING id) INSERT INTO net._http_response (id, status_code) SELECT id, 200 FROM sent;
SQL
my $whole = $node->safe_psql('postgres', "SELECT relpages FROM pg_class WHERE oid = 'net._http_response'::regclass");
cmp_ok($whole, '>', 500, 'a hundred thousand old answers ...');
my ($blocks, $became) = split / /, blocks_read($answered);
is($became, 'succeeded', '... beside a new one, which is booked ...');
cmp_ok($blocks, '<', 50, '... are not read for it');

# When pg_net is dropped and created again, its ids start anew: another program's request has the number that ours had.
$node->no_retries('postgres', '/made-again');
$id    = $node->call('postgres', '/made-again');
$first = request_of($id);
$node->safe_psql('postgres', <<"SQL");
BEGIN;
DROP EXTENSION pg_net;
CREATE EXTENSION pg_net VERSION 'wee5fixture';
INSERT INTO net._http_response (id, status_code) VALUES ($first->{id}, 200);
COMMIT;
SQL
fields_are($node->finished('postgres', $id), { status => 'failed', reason => 'lost' }, 'an answer of a pg_net that was made again is not ours');

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
fields_are($second->{headers}, { Authorization => "Bearer $secret", 'X-Wee5-Cron-Attempt' => 1, 'Idempotency-Key' => $first->{headers}{'Idempotency-Key'} }, 'after a 401 it is handed over again with the previous one');
fields_are($node->finished('postgres', $id), { status => 'succeeded', attempts => 1, http_status => 200, hint => qr/^The app answered 401 .* accepted the previous one/ }, '... and its row says so');
is_deeply([ map { "$_->{attempt} $_->{http_status}" } $node->attempts('postgres', $id) ], ['1 200'], '... as one attempt');
$id    = $node->call('postgres', '/rotated');
$first = answer($id, @unauthorized);
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM wee5_cron.pg_net_request WHERE invocation_id = $id AND request_id <> $first->{id}")
  or die 'the call was not handed over again';
answer($id, @unauthorized);
fields_are($node->finished('postgres', $id), { status => 'failed', attempts => 1, http_status => 401, response_body => 'neither [secret] nor [secret]', hint => qr/did not accept the bearer secret/ }, 'it is tried once');
$id    = $node->call('postgres', '/rotated');
$first = answer($id, @unauthorized);
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM wee5_cron.pg_net_request WHERE invocation_id = $id AND request_id <> $first->{id}")
  or die 'the call was not handed over again';
answer($id, 'status_code, headers', q{202, '{"Wee5-Cron": "accepted"}'});
fields_are($node->invocation_when('postgres', $id, "status = 'accepted'"), { hint => qr/accepted the previous one/ }, 'the row of an accepted call says so, too');
is($node->safe_psql('postgres', "SELECT status FROM wee5_cron.doctor() WHERE check_name = 'cron_secret_previous'"), 'warning', '... and doctor() that the app is behind');
$node->safe_psql('postgres', "SELECT wee5_cron.complete('$first->{headers}{'Idempotency-Key'}')");
fields_are($node->finished('postgres', $id), { status => 'succeeded', hint => qr/accepted the previous one/ }, '... also once the work is complete');
$node->safe_psql('postgres', "SELECT wee5_cron.configure('https://app.example.com', '$newer', keep_previous => false)");
$id = $node->call('postgres', '/rotated');
answer($id, status_code => 401);
fields_are($node->finished('postgres', $id), { status => 'failed', attempts => 1, http_status => 401 }, 'without a previous secret the 401 stands');

is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation i WHERE to_json(i)::text LIKE '%$secret%'"), 0, 'no secret in the rows');
$node->log_is_sane;
done_testing();
