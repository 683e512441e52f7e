# 5,000 calls are queued and 200 are on the wire when the ledger becomes unwritable, or the app goes away. Nothing new is
# sent while nothing can be recorded, no answer is lost, no call is sent twice, and calls of other databases are sent.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;
use Wee5Cron::Audit;
use Wee5Cron::Doctor;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
# Small WAL files: the limit on the size of the ledger's files must not affect them.
my $node = Wee5Cron::Node->start_new('main', init => { extra => [ '--encoding=UTF8', '--locale=C', '--wal-segsize=1' ] },
    conf => 'wee5_cron.max_in_flight = 200');
$node->install($_, api_url => $receiver->url, secret => 'the secret') for qw(postgres beside);
my $doctor = Wee5Cron::Doctor->new($node, 'postgres');

sub begin_audit {
    $receiver->hold;
    my $audit = Wee5Cron::Audit->new($node, 'postgres', $receiver);
    $audit->commit_calls(5_200);
    $audit->roll_back_calls(100);
    $audit->wait_for_wire(200);
    return $audit;
}

# Meanwhile a call in the other database is delivered.
sub beside_goes_on {
    my ($name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return fields_are($node->finished('beside', $node->call('beside', '/beside')), { status => 'succeeded' }, $name);
}

# The disk is full for the worker's writes: it cannot extend a file beyond its present length.
{
    # A full disk affects new pages, so there are no free ones, and the tables are larger than a WAL file.
    $node->safe_psql('postgres',
        'INSERT INTO wee5_cron.attempt (invocation_id, attempt) SELECT -n, 1 FROM generate_series(1, 40000) n');
    my $audit  = begin_audit();
    my $pid    = $node->worker_pid('postgres');
    my $limit  = 1_048_576;
    system_or_bail('prlimit', "--pid=$pid", "--fsize=$limit:");
    $receiver->release_for_good;
    # Answers that came before the worker noticed have freed slots.
    $node->poll_query_until('postgres', "SELECT state = 'blocked' AND in_flight = 0 FROM wee5_cron.worker WHERE pid = $pid")
      or die "the worker is not blocked\n";
    my $sent = $audit->deliveries;
    like($node->safe_psql('postgres', "SELECT last_error FROM wee5_cron.worker WHERE pid = $pid"),
        qr/could not (?:extend|write).*File too large/, 'on a full disk wee5_cron.worker shows the error');
    my $hint = $doctor->red('worker', 'error', qr/blocked: could not .*File too large/, 'a full disk');
    like($hint, qr/free space/, '... and its hint says what to free');
    beside_goes_on('a call in another database succeeds');
    my $now = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
    $node->poll_query_until('postgres', "SELECT state_change > '$now' FROM pg_stat_activity WHERE pid = $pid AND state = 'idle'")
      or die "it did not try again\n";
    is(scalar($audit->deliveries), $sent, '... and nothing new is sent while nothing can be recorded');
    system_or_bail('prlimit', "--pid=$pid", '--fsize=unlimited:');
    $audit->nothing_is_lost('there is room again');
    is($audit->repeats, 0, '... and no call is sent twice');
    is($node->worker_pid('postgres'), $pid, '... and the same worker is still there');
    $doctor->green('worker', 'after the disk had room again');
}

# The database's sessions are read-only. The worker's session would be, too, if it did not override that.
{
    my $audit = begin_audit();
    my $pid   = $node->worker_pid('postgres');
    $node->safe_psql('postgres', 'ALTER DATABASE postgres SET default_transaction_read_only = on');
    $node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
    $node->wait_for_worker('postgres', $pid);
    $receiver->release_for_good;
    $audit->nothing_is_lost('a worker that starts in a read-only database');
    $node->safe_psql('postgres', 'SET default_transaction_read_only = off; ALTER DATABASE postgres RESET default_transaction_read_only');
}

$node->log_is_sane;
done_testing();
