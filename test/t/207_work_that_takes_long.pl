# claim() and complete(): work that is done only once, and work that goes on after the answer.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;
use Wee5Cron::Editions;
use Wee5Cron::Doctor;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Editions->start_node('main');
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');
$node->safe_psql('postgres', "CREATE ROLE app LOGIN; SELECT wee5_cron.grant_to('app', 'app'); CREATE ROLE caller LOGIN; SELECT wee5_cron.grant_to('caller', 'call')");
my $app = sub { $node->psql_as('app', 'postgres', $_[0]) };
my $works_on = sub { $receiver->answers($_, status => 202, headers => ['Wee5-Cron: accepted'], body => '{"accepted":true}') for @_ };
my $key_of = sub { $node->safe_psql('postgres', "SELECT idempotency_key FROM wee5_cron.invocation WHERE id = $_[0]") };
my $accepted = sub { my $id = $node->call('postgres', @_); $node->invocation_when('postgres', $id, "status = 'accepted'"); return $id };

# The answer 202 alone has its old meaning.
$receiver->answers('/x/202', status => 202);
fields_are($node->finished('postgres', $node->call('postgres', '/x/202')), { status => 'succeeded', http_status => 202 }, 'an answer of 202 without the header is a success');
$receiver->answers('/x/200', status => 200, headers => ['Wee5-Cron: accepted']);
fields_are($node->finished('postgres', $node->call('postgres', '/x/200')), { status => 'succeeded', http_status => 200 }, 'an answer of 200 with the header is a success');

# The app goes on with the work, and says when it is done.
$works_on->('/export');
my $id = $accepted->('/export');
my $key = $key_of->($id);
my $row = $node->invocation('postgres', $id);
fields_are($row, { http_status => 202, reason => undef, error => undef, attempts => 1, finished_at => undef, duration => undef, response_body => '{"accepted":true}' }, 'a call whose app goes on with the work is accepted');
is($node->safe_psql('postgres', "SELECT next_attempt_at - a.finished_at FROM wee5_cron.invocation i JOIN wee5_cron.attempt a ON a.invocation_id = i.id WHERE i.id = $id"), '01:00:00', '... and has an hour to complete');
is($node->safe_psql('postgres', "SELECT status FROM wee5_cron.wait_for($id, '100 ms')"), 'accepted', 'wait_for() returns an accepted call as not ended');
is($node->safe_psql('postgres', 'SELECT wee5_cron.queued_calls()'), 0, 'an accepted call is not queued');
my $waiter = $node->background_psql('postgres');
$waiter->query_until(qr/waits/, "\\echo waits\nSELECT status FROM wee5_cron.wait_for($id, '1 minute') \\g $PostgreSQL::Test::Utils::tmp_check/waited\n");
is($app->("SELECT wee5_cron.complete('$key')"), 't', 'complete() of an accepted call returns true');
fields_are($node->invocation('postgres', $id), { status => 'succeeded', reason => undef, error => undef, finished_at => qr/./, next_attempt_at => undef, duration => $node->is_portable ? undef : qr/./, http_status => 202 }, '... and the call succeeds at once');
$waiter->quit;
is(slurp_file("$PostgreSQL::Test::Utils::tmp_check/waited") =~ /succeeded/ ? 1 : 0, 1, 'wait_for() returns when the work is done');
is($app->("SELECT wee5_cron.complete('$key')"), 't', 'a second complete() changes nothing');
is($app->("SELECT wee5_cron.complete('$key', false)"), 'f', 'complete(false) after the success changes nothing either');
is($app->("SELECT wee5_cron.claim('$key')"), 'done', 'claim() of a completed key says done');
my $again = $node->safe_psql('postgres', "SELECT wee5_cron.retry($id)");
is($node->finished('postgres', $again)->{status}, 'succeeded', 'retry() of completed work succeeds when the app answers it');

# The work failed.
$id  = $accepted->('/export');
$key = $key_of->($id);
is($app->("SELECT wee5_cron.claim('$key')"), 'new', 'claim() of a new key says new');
is($app->("SELECT wee5_cron.claim('$key')"), 'running', 'claim() of a claimed key says running');
is($app->("SELECT wee5_cron.complete('$key', false, E'\\tthe bucket is full,\\nsays the secret\\n')"), 't', 'complete(false) of an accepted call returns true');
fields_are($node->invocation('postgres', $id), { status => 'failed', reason => 'incomplete', error => 'the bucket is full, says [secret]', hint => qr/SELECT wee5_cron\.retry\($id\);/, next_attempt_at => undef }, '... and the call fails with the note in one line, without the secret');
is($node->safe_psql('postgres', "SELECT note FROM wee5_cron.claim WHERE idempotency_key = '$key'"), "\tthe bucket is full,\nsays [secret]\n", '... and the claim keeps the note');
is_deeply([ map { "$_->{attempt} $_->{reason}" } $node->attempts('postgres', $id) ], ['1 incomplete'], '... and the attempt says incomplete');
is($app->("SELECT wee5_cron.claim('$key')"), 'new', '... and the key can be claimed again');
$again = $node->safe_psql('postgres', "SELECT wee5_cron.retry($id)");
$node->invocation_when('postgres', $again, "status = 'accepted'");
is($node->safe_psql('postgres', "SELECT wee5_cron.cancel($again)"), 't', 'an accepted call can be cancelled');
is($node->finished('postgres', $again)->{status}, 'cancelled', '... and the call ends as cancelled');
is($app->("SELECT wee5_cron.complete('$key')"), 'f', 'complete() after a cancel returns false for the call that had failed');
is($node->invocation('postgres', $again)->{status}, 'cancelled', '... and the cancelled call stays cancelled');

# The work is not completed in time.
$works_on->('/slow-export', '/transient', '/late');
$node->policy('postgres', '/slow-export', complete_within => '300 ms');
$node->policy('postgres', '/late', complete_within => '300 ms', alert_after => 1);
$node->policy('postgres', '/transient', complete_within => '300 ms', retry_on => 'transient', retry_delays => '{1h}', retry_window => '1 day');
$id = $node->call('postgres', '/slow-export');
fields_are($node->finished('postgres', $id), { status => 'failed', reason => 'incomplete', http_status => 202, attempts => 1, error => 'The app accepted the call of /slow-export and did not complete it in time.', hint => qr/complete_within\) VALUES \('\/slow-export', '2 hours'\)/ }, 'work that is not completed in time has failed');
is($app->("SELECT wee5_cron.complete('@{[ $key_of->($id) ]}')"), 'f', 'complete() after the deadline returns false');
fields_are($node->invocation('postgres', $id), { status => 'failed', reason => 'incomplete', hint => qr/^The app completed the work at .*raise complete_within/ }, '... and the call stays failed, with a hint that names the late completion');
is($app->("SELECT wee5_cron.claim('@{[ $key_of->($id) ]}')"), 'done', '... and the claim says done');
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.pending_alert"), 0, 'a single failure sends no alert');
$id = $node->call('postgres', '/transient');
fields_are($node->invocation_when('postgres', $id, "status = 'retrying'"), { reason => 'incomplete', attempts => 1, finished_at => undef, http_status => 202 }, "with retry_on = 'transient' work that is not completed in time is retried");
is_deeply([ map { "$_->{attempt} $_->{reason}" } $node->attempts('postgres', $id) ], ['1 incomplete'], '... and its attempt says why');
is($app->("SELECT wee5_cron.complete('@{[ $key_of->($id) ]}')"), 't', 'complete() before the retry returns true');
fields_are($node->invocation('postgres', $id), { status => 'succeeded', reason => undef, next_attempt_at => undef }, '... and the call succeeds');
my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN wee5_cron');
$node->finished('postgres', $node->call('postgres', '/late'));
$node->poll_query_until('postgres', "SELECT told FROM wee5_cron.trouble WHERE kind = 'failing' AND name = '/late'") or die;
$node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM wee5_cron.pending_alert') or die;
like($listener->query_safe('SELECT 1'), qr/did not complete it in time.*"event": "failing"/s, 'an alert is sent when the deadline passes');
$listener->quit;

# What treats an accepted call as unfinished.
$works_on->('/overlap');
$node->policy('postgres', '/overlap', overlap => 'skip');
$id = $accepted->('/overlap');
my $skipped = $node->call('postgres', '/overlap');
fields_are($node->finished('postgres', $skipped), { status => 'skipped', reason => 'overlap', error => "Call $id of /overlap has not ended yet." }, 'an accepted call keeps the next one from overlapping it');
$node->raises('postgres', "SELECT wee5_cron.retry($id)", '55000', 'retry() refuses an accepted call');
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.doctor() WHERE check_name IN ('retrying', 'queue') AND status <> 'ok'"), 0, 'doctor() does not count an accepted call as waiting');
like($node->safe_psql('postgres', 'SELECT wee5_cron.status_page()'), qr{<dt>Accepted, not complete</dt><dd>1</dd>}, 'the status page counts accepted calls');
like($node->safe_psql('postgres', "SELECT wee5_cron.call_page($id)"), qr{<dt>Complete by</dt>}, "the call's page shows the deadline");

# The app's process dies between its work and complete(): with the work in the database, nothing of it remains.
$node->safe_psql('postgres', 'CREATE TABLE mail (key uuid); GRANT ALL ON mail TO app');
$key = $node->safe_psql('postgres', 'SELECT gen_random_uuid()');
my $session = $node->background_psql('postgres', extra_params => [ '-U', 'app' ], on_error_stop => 0);
is($session->query_safe("BEGIN; SELECT wee5_cron.claim('$key'); INSERT INTO mail VALUES ('$key')"), 'new', 'claim() says new in the transaction that does the work');
is($app->("SELECT wee5_cron.claim('$key')"), 'running', "... and another session's claim() says running");
my $pid = $session->query_safe('SELECT pg_backend_pid()');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid, 10000)");
is($app->("SELECT wee5_cron.claim('$key')"), 'new', 'claim() says new when the process that held the key was killed');
is($node->safe_psql('postgres', 'SELECT count(*) FROM mail'), 0, '... and its work was rolled back');
# If the work is done elsewhere, the lease decides.
my $other = $node->safe_psql('postgres', 'SELECT gen_random_uuid()');
is($app->("SELECT wee5_cron.claim('$other', '1 second')"), 'new', 'claim() with a lease says new');
is($app->("SELECT wee5_cron.claim('$other')"), 'running', '... and claim() says running during the lease, even if that process is gone');
$node->poll_query_until('postgres', "SELECT wee5_cron.claim('$other') = 'new'") or die;
pass('... and claim() says new after the lease');

# Which roles may use claim() and complete().
$node->raises('postgres', "SELECT wee5_cron.$_('$key')", '42501', "a caller may not use $_()", role => 'caller') for qw(claim complete);
$node->raises('postgres', 'SELECT invoke_cron_endpoint(\'/x\')', '42501', "the app's role may not make calls", role => 'app');
$node->safe_psql('postgres', "SELECT wee5_cron.revoke_from('app', 'app')");
$node->raises('postgres', "SELECT wee5_cron.claim('$key')", '42501', "after revoke_from() the app's role may not use claim()", role => 'app');

Wee5Cron::Editions->needs_the_worker($node);
$node->safe_psql('postgres', "SELECT wee5_cron.grant_to('app', 'app')");

# complete() before the answer.
$id = $node->call('postgres', '/hang');
$receiver->wait_for_requests('/hang');
$key = $key_of->($id);
is($app->("SELECT wee5_cron.complete('$key', note => 'quick')"), 't', 'complete() before the answer returns true');
$receiver->release(500);
fields_are($node->finished('postgres', $id), { status => 'failed', http_status => 500 }, '... and does not turn a failed answer into a success');
for my $ok ('true', 'false') {
    $works_on->("/early/$ok");
    # The request waits behind one that hangs, so that complete() comes first.
    my $blocker = $node->block_the_wire('postgres', $receiver);
    $id  = $node->call('postgres', "/early/$ok");
    $key = $key_of->($id);
    is($app->("SELECT wee5_cron.complete('$key', $ok, 'early')"), 't', "complete($ok) before the request is sent");
    $receiver->release;
    if ($ok eq 'true') {
        is($node->finished('postgres', $id)->{status}, 'succeeded', '... and the call succeeds when its answer 202 is recorded');
    } else {
        is($node->invocation_when('postgres', $id, "status = 'accepted'")->{attempts}, 1, '... and does not apply to the attempt that follows');
        is($app->("SELECT wee5_cron.complete('$key')"), 't', '... which can be completed like any other');
    }
    $node->finished('postgres', $blocker);
    $node->set_server('wee5_cron.max_in_flight', 256);
}

# complete() while the answer is recorded: its transaction has not committed yet.
$session = $node->background_psql('postgres', extra_params => [ '-U', 'app' ]);
$id = $node->call('postgres', '/hang');
my $hanging = () = $receiver->wait_for_requests('/hang', 4);
$key = $key_of->($id);
$receiver->answers('/meanwhile', status => 202, headers => ['Wee5-Cron: accepted']);
$receiver->release;
$node->finished('postgres', $id);
my $blocker = $node->block_the_wire('postgres', $receiver);
$id = $node->call('postgres', '/meanwhile');
$key = $key_of->($id);
$session->query_safe("BEGIN; SELECT wee5_cron.complete('$key')");
$receiver->release;
$node->invocation_when('postgres', $id, "status = 'accepted'");
pass('an answer is recorded while complete() is uncommitted');
$session->query_safe('COMMIT');
is($node->finished('postgres', $id)->{status}, 'succeeded', '... and the call ends when complete() commits');
$node->set_server('wee5_cron.max_in_flight', 256);

# run() waits for complete(), and raises an error if the work failed.
$works_on->('/run');
my $runner = $node->background_psql('postgres', on_error_stop => 0);
my $ran = "$PostgreSQL::Test::Utils::tmp_check/ran";
$runner->query_until(qr/runs/, "\\echo runs\nCALL wee5_cron.run('/run');\n\\o $ran\n\\qecho :SQLSTATE\n\\o\n");
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM wee5_cron.invocation WHERE endpoint_path = '/run' AND status = 'accepted'") or die;
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CALL wee5_cron.run(%' AND state = 'active'"), 1, 'run() waits while the app works on an accepted call');
$node->safe_psql('postgres', "SELECT wee5_cron.complete(idempotency_key, false) FROM wee5_cron.invocation WHERE endpoint_path = '/run'");
$runner->quit;
is(slurp_file($ran), "38000\n", '... and raises an error when the app reports that the work failed');

# An accepted call and its deadline survive a crash and a restart.
$works_on->('/kept');
$node->policy('postgres', '/kept', complete_within => '1 day');
my $kept = $accepted->('/kept');
my $until = $node->invocation('postgres', $kept)->{next_attempt_at};
$node->policy('postgres', '/kept', complete_within => '2 seconds');
my $soon = $accepted->('/kept');
# So do claims that were committed. Work in the transaction of its claim does not.
my ($leased, $begun) = map { $node->safe_psql('postgres', 'SELECT gen_random_uuid()') } 1, 2;
is($app->("SELECT wee5_cron.claim('$leased', '1 day')"), 'new', 'claim() for work that is done elsewhere says new');
my $works = $node->background_psql('postgres', extra_params => [ '-U', 'app' ], on_error_stop => 0);
$works->query_safe("BEGIN; SELECT wee5_cron.claim('$begun'); INSERT INTO mail VALUES ('$begun')");
$node->restart_immediately;
eval { $works->quit };
is($app->("SELECT wee5_cron.claim('$leased')"), 'running', 'after a crash a claimed key is still claimed');
is($app->("SELECT wee5_cron.complete('$leased')") . $app->("SELECT wee5_cron.claim('$leased')"), 'tdone', '... and complete() completes it');
is($app->("SELECT wee5_cron.claim('$begun')") . $node->safe_psql('postgres', "SELECT count(*) FROM mail WHERE key = '$begun'"), 'new0', '... and a key whose transaction was cut off is free, without its work');
is($node->finished('postgres', $soon)->{reason}, 'incomplete', 'after a crash an accepted call fails when its deadline passes');
fields_are($node->invocation('postgres', $kept), { status => 'accepted', next_attempt_at => $until }, '... and another call with a later deadline stays accepted');
$node->restart;
is(scalar(() = $receiver->requests('/kept')), 2, '... and neither was sent again');
is($app->("SELECT wee5_cron.complete('@{[ $key_of->($kept) ]}')"), 't', 'complete() after a restart returns true');
is($node->invocation('postgres', $kept)->{status}, 'succeeded', '... and the call succeeds');

$node->log_is_sane;
$node->stop;
$receiver->stop;
done_testing();
