# retry() and cancel(): what users can do with their calls.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;
use Wee5Cron::Editions;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Editions->start_node('main');
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');
$node->safe_psql('postgres', "CREATE ROLE operator LOGIN; SELECT wee5_cron.grant_to('operator', 'operate'); CREATE ROLE caller LOGIN; SELECT wee5_cron.grant_to('caller', 'call')");
my $psql = sub { $node->psql_as('operator', 'postgres', $_[0]) };

# The same call again.
my $id = $node->call('postgres', '/x/status/500?a=1', q{'POST', '{"n": 1}', '{"X-Team": "blue"}', '7 s'});
my $old = $node->finished('postgres', $id);
$node->policy('postgres', '/x/status/500', method => 'DELETE', headers => '{"X-Not": "then"}', timeout => '1 min');
my $again = $psql->("SELECT wee5_cron.retry($id)");
isnt($again, $id, 'retry() creates a new row');
my $new = $node->finished('postgres', $again);
fields_are($new, { (map { $_ => $old->{$_} } qw(endpoint_path method timeout idempotency_key job_name url)), requested_by => 'operator', attempts => 1, status => 'failed' },
    '... with the same request and Idempotency-Key');
is_deeply([ @{$new}{qw(body headers)} ], [ @{$old}{qw(body headers)} ], '... and the same body and headers, whatever the policy says by now');
my ($first, $second) = $receiver->requests('/x/status/500');
is_deeply([ @{$second}{qw(method url body)} ], [ @{$first}{qw(method url body)} ], '... and the app gets the same request');
fields_are($second->{headers},
    { 'idempotency-key' => $first->{headers}{'idempotency-key'}, 'x-wee5-cron-invocation' => $again, 'x-wee5-cron-attempt' => 1, 'x-team' => 'blue' },
    '... with the invocation id of the new call');
ok(!exists $second->{headers}{'x-not'}, '... and no header from the changed policy');
is_deeply($node->invocation('postgres', $id), $old, 'retry() does not change the old row');

# In the name of its job.
$node->safe_psql('postgres', "SELECT cron.schedule('nightly', '0 3 * * *', \$\$SELECT invoke_cron_endpoint('/status/404')\$\$)");
$id = $node->safe_psql('postgres', "SELECT wee5_cron.run_now('nightly')");
$node->finished('postgres', $id);
fields_are($node->finished('postgres', $psql->("SELECT wee5_cron.retry($id)")), { job_name => 'nightly', http_status => 404 }, "retry() of a job's call keeps the job's name");

# After a rollback there is no call.
my $calls = sub { $node->safe_psql('postgres', 'SELECT count(*) FROM wee5_cron.invocation') };
my $before = $calls->();
$psql->("BEGIN; SELECT wee5_cron.retry($id); ROLLBACK");
is($calls->(), $before, 'a retry() that is rolled back makes no call');

# A call with any other end can be made again, too. A call that has not ended cannot.
my $hanging = $node->call('postgres', '/hang');
$receiver->wait_for_requests('/hang') unless $node->is_portable;
$node->raises('postgres', "SELECT wee5_cron.retry($hanging)", '55000', 'retry() refuses a call that has not ended', message => qr/\b$hanging\b/, hint => qr/wait_for\($hanging\).*cancel\($hanging\)/);
$node->raises('postgres', 'SELECT wee5_cron.retry(NULL)', '22004', 'retry(NULL) is an error');
$node->raises('postgres', 'SELECT wee5_cron.retry(4711)', '02000', 'retry() of an unknown call is an error', message => qr/4711/);
$node->raises('postgres', "SELECT wee5_cron.$_($id)", '42501', "a caller may not use $_()", role => 'caller') for qw(retry cancel);

$psql->("SELECT wee5_cron.cancel($hanging)") if $node->is_portable;

# Waiting for its next attempt.
$node->policy('postgres', '/status/503', retry_delays => '{1h}', retry_window => '1 day');
my $waiting = $node->call('postgres', '/status/503');
$node->invocation_when('postgres', $waiting, "status = 'retrying'");
is($psql->("SELECT wee5_cron.cancel($waiting)"), 't', 'cancel() of a call that waits for its retry returns true');
fields_are($node->finished('postgres', $waiting), { status => 'cancelled', reason => 'cancelled', attempts => 1, next_attempt_at => undef, error => qr{^The call of /[\w/]+ was cancelled\.$} }, '... and the call ends as cancelled');

# A cancelled call can be made again.
$again = $psql->("SELECT wee5_cron.retry($waiting)");
fields_are($node->invocation_when('postgres', $again, "status = 'retrying'"), { idempotency_key => $node->invocation('postgres', $waiting)->{idempotency_key}, attempts => 1 }, 'retry() of a cancelled call makes it again');
$psql->("SELECT wee5_cron.cancel($again)");
is($node->finished('postgres', $again)->{status}, 'cancelled', '... and cancel() cancels the new call, too');

# A call of the same transaction.
$id = $psql->("BEGIN; SELECT invoke_cron_endpoint('/never') AS id \\gset\nSELECT wee5_cron.cancel(:id); COMMIT; SELECT :id") =~ s/^t\n//r;
is($node->finished('postgres', $id)->{status}, 'cancelled', 'cancel() in the transaction that makes the call cancels it');
is(scalar(my @never = $receiver->requests('/never')), 0, '... and it is not sent');

Wee5Cron::Editions->needs_the_worker($node);

# On the wire: the request is abandoned, and the row says so.
is($psql->("SELECT wee5_cron.cancel($hanging)"), 't', 'cancel() of a call on the wire returns true');
fields_are($node->finished('postgres', $hanging),
    { status => 'cancelled', reason => 'cancelled', http_status => undef, attempts => 1, error => 'The call of /hang was cancelled.', next_attempt_at => undef, duration => qr/./ }, '... and the call ends as cancelled');
$receiver->wait_until_gone('/hang');
pass('... and its connection is closed');
is_deeply([ map { "$_->{attempt} $_->{reason}" } $node->attempts('postgres', $hanging) ], ['1 cancelled'], '... and its attempt says cancelled');
is($psql->("SELECT wee5_cron.cancel($hanging)"), 'f', 'cancel() of a call that has ended returns false');

# Queued behind a call that hangs, in the worker's memory or still only in the ledger.
my $blocker = $node->block_the_wire('postgres', $receiver);
my @queued = split /\n/, $node->safe_psql('postgres', "SELECT invoke_cron_endpoint('/queued?n=' || n) FROM generate_series(1, 2000) n");
$psql->("SELECT count(wee5_cron.cancel(q)) FROM unnest('{@{[ join ',', @queued[ 0, 2 .. $#queued ] ]}}'::bigint[]) q");
$psql->("BEGIN; SELECT wee5_cron.cancel($queued[1]); ROLLBACK");
$node->poll_query_until('postgres', "SELECT count(*) = 1999 FROM wee5_cron.invocation WHERE endpoint_path LIKE '/queued%' AND status = 'cancelled'") or die;
pass('cancel() ends all but one of two thousand queued calls');
fields_are($node->invocation('postgres', $queued[0]), { attempts => 0, first_sent_at => undef, status => 'cancelled' }, '... and none of them was attempted');
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.attempt a JOIN wee5_cron.invocation i ON i.id = a.invocation_id WHERE i.endpoint_path LIKE '/queued%'"), 0, '... and none has a row in attempt');
$receiver->release_for_good;
fields_are($node->finished('postgres', $queued[1]), { status => 'succeeded' }, 'a cancel() that is rolled back has no effect');
is(scalar(my @sent = $receiver->requests('/queued')), 1, '... and the app got none of the cancelled calls');
is($node->finished('postgres', $blocker)->{status}, 'succeeded', 'the call in front of them succeeds');
$node->set_server('wee5_cron.max_in_flight', 256);

# An open transaction that has used cancel() delays nothing.
$receiver->hold;
my $open = $node->call('postgres', '/hang');
$receiver->wait_for_requests('/hang', 3);
my $session = $node->background_psql('postgres');
$session->query_safe("BEGIN; SELECT wee5_cron.cancel($open)");
is($node->finished('postgres', $node->call('postgres', '/beside'))->{status}, 'succeeded', 'calls are sent while a transaction with cancel() is open');
$receiver->release;
is($node->finished('postgres', $open)->{status}, 'succeeded', '... even the call that it wants to cancel');
is($session->query_safe('COMMIT; SELECT 1'), 1, '... and its commit succeeds');
$session->quit;
is($node->invocation('postgres', $open)->{status}, 'succeeded', '... and does not change the call that has ended');
$node->raises('postgres', 'SELECT wee5_cron.cancel(NULL)', '22004', 'cancel(NULL) is an error');
$node->raises('postgres', 'SELECT wee5_cron.cancel(4711)', '02000', 'cancel() of an unknown call is an error', message => qr/4711/);

# A crash in between loses no cancel().
$open = $node->call('postgres', '/hang');
$receiver->wait_for_requests('/hang', 4);
kill 'STOP', my $worker = $node->worker_pid('postgres');
$psql->("SELECT wee5_cron.cancel($open)");
$node->stop('immediate', fail_ok => 1);
kill 'KILL', $worker;
$node->start;
is($node->finished('postgres', $open)->{status}, 'cancelled', 'a cancel() that was committed before a crash applies after it');
$node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM wee5_cron.cancellation') or die;
pass('no cancellation is left');

$node->log_is_sane;
done_testing();
