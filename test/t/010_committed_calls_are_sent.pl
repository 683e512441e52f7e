# A commit sends the call. Nothing else does.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Node->start_new('main', conf => 'max_prepared_transactions = 5');
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');

# A call that is committed later has arrived, and its result is recorded. Anything else would have arrived by now.
my $fences = 0;

sub fence {
    my $path = '/fence/' . ++$fences;
    my $row = $node->finished('postgres', $node->call('postgres', $path));
    die "the fence failed: $row->{error}\n" unless $row->{status} eq 'succeeded';
    return;
}

sub arrivals {
    my ($path) = @_;
    return scalar(my @requests = $receiver->requests($path));
}

# A plain call.
my $id = $node->call('postgres', '/committed');
my ($request) = $receiver->wait_for_requests('/committed');
my $row = $node->finished('postgres', $id);
fields_are($request, { method => 'GET', url => '/committed', bearer => 'match', body => '' }, 'a committed call arrives');
fields_are($row, { status => 'succeeded', http_status => 200, attempts => 1, reason => undef, error => undef },
    '... and its row says succeeded');

# The transaction decides.
$node->safe_psql('postgres', "BEGIN; SELECT invoke_cron_endpoint('/rolled-back'); ROLLBACK");
$node->error_of('postgres', "BEGIN; SELECT invoke_cron_endpoint('/failed'); SELECT 1 / 0; COMMIT");
fence();
is(arrivals('/rolled-back'), 0, 'a call that was rolled back is not sent');
is(arrivals('/failed'),      0, 'a call whose transaction failed is not sent');
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path ~ 'rolled|failed'"),
    0, 'neither a rolled-back nor a failed transaction leaves a row');

$node->safe_psql('postgres', <<'SQL');
BEGIN;
SELECT invoke_cron_endpoint('/before-savepoint');
SAVEPOINT a;
SELECT invoke_cron_endpoint('/in-savepoint');
ROLLBACK TO a;
SELECT invoke_cron_endpoint('/after-savepoint');
COMMIT;
DO $$
BEGIN
  PERFORM invoke_cron_endpoint('/in-block');
  RAISE 'undo this block';
EXCEPTION WHEN OTHERS THEN
  PERFORM invoke_cron_endpoint('/in-handler');
END
$$;
SQL
$receiver->wait_for_requests('/in-handler');
fence();
is(arrivals('/before-savepoint'), 1, 'a call before a savepoint is sent');
is(arrivals('/in-savepoint'),     0, 'a call in an aborted savepoint is not sent');
is(arrivals('/after-savepoint'),  1, 'a call after the aborted savepoint is sent');
is(arrivals('/in-block'),         0, 'a call in an aborted PL/pgSQL block is not sent');
is(arrivals('/in-handler'),       1, 'a call in the exception handler of that block is sent');

# Only the calls of a released savepoint are sent. The commit wakes the worker although the last subtransaction aborted.
$node->safe_psql('postgres', <<'SQL');
BEGIN;
SAVEPOINT a; SELECT invoke_cron_endpoint('/released'); RELEASE a;
SAVEPOINT b; SELECT invoke_cron_endpoint('/undone'); ROLLBACK TO b;
COMMIT;
SQL
$receiver->wait_for_requests('/released');
pass('a call in a released savepoint is sent at the commit');

# An id may be committed long after a higher one was delivered.
my $session = $node->background_psql('postgres');
$session->query_safe('BEGIN');
my $early = $session->query_safe("SELECT invoke_cron_endpoint('/slow-transaction')");
my $late  = $node->call('postgres', '/quick-transaction');
$node->finished('postgres', $late);
is(arrivals('/slow-transaction'), 0, 'a call is not sent while its transaction is open');
cmp_ok($early, '<', $late, '... though its id is lower than that of a call already sent');
$session->query_safe('COMMIT');
$receiver->wait_for_requests('/slow-transaction');
is($node->finished('postgres', $early)->{status}, 'succeeded', 'a call is sent when it commits, even after calls with higher ids');
$session->quit;

$node->safe_psql('postgres', "SET synchronous_commit = off; SELECT invoke_cron_endpoint('/asynchronous')");
$receiver->wait_for_requests('/asynchronous');
pass('an asynchronously committed call is sent');

# Two-phase commit.
for my $name (qw(kept discarded)) {
    $node->safe_psql('postgres', "BEGIN; SELECT invoke_cron_endpoint('/$name'); PREPARE TRANSACTION '$name'");
}
fence();
is(arrivals('/kept'), 0, 'PREPARE TRANSACTION does not send a call');
$node->safe_psql('postgres', "ROLLBACK PREPARED 'discarded'");
$node->safe_psql('postgres', "COMMIT PREPARED 'kept'");
$receiver->wait_for_requests('/kept');
pass('COMMIT PREPARED sends the call');
fence();
is(arrivals('/discarded'), 0, 'ROLLBACK PREPARED sends nothing');

# Calls from a procedure that commits.
$node->safe_psql('postgres', <<'SQL');
DO $$
BEGIN
  PERFORM invoke_cron_endpoint('/procedure/1');
  COMMIT;
  PERFORM invoke_cron_endpoint('/procedure/2');
  ROLLBACK;
  PERFORM invoke_cron_endpoint('/procedure/3');
END
$$;
SQL
$receiver->wait_for_requests(qr{^/procedure/}, 2);
fence();
is(join(' ', sort map { $_->{path} } $receiver->requests(qr{^/procedure/})),
    '/procedure/1 /procedure/3', 'COMMIT and ROLLBACK in a procedure decide which of its calls are sent');

# Many at once.
my $many = 1000;
my $returned = $node->safe_psql('postgres',
    "SELECT count(DISTINCT invoke_cron_endpoint('/many/' || n)) FROM generate_series(1, $many) n");
is($returned, $many, 'each of many calls in one transaction gets its own id');
$node->wait_until_all_finished('postgres');
my %arrived;
$arrived{ $_->{path} }++ for $receiver->requests(qr{^/many/});
is(scalar(keys %arrived), $many, '... all of them arrive');
is(scalar(grep { $_ > 1 } values %arrived), 0, '... each of them once');
is($node->safe_psql('postgres',
        "SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path ~ '^/many/' AND status = 'succeeded'"),
    $many, '... and all rows say succeeded');
is(scalar(grep { $_->{bearer} ne 'match' } $receiver->requests), 0, 'every request of this test carries the bearer');

$node->log_is_sane;
done_testing();
