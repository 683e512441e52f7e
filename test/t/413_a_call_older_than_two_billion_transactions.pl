# A call waits while more than 2^31 transactions pass, for example in a disarmed database. Its row is frozen, the number of
# its transaction now lies in the future, and nothing of that transaction is kept. It is still sent.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node     = Wee5Cron::Node->start_new('main', conf => "autovacuum_freeze_max_age = 2000000000\nautovacuum = off");
$node->install('postgres', api_url => $receiver->url, secret => 'the secret');
$node->safe_psql('postgres', q{UPDATE pg_database SET datallowconn = true WHERE datname = 'template0'});
$node->policy('postgres', '/statuses/503,200', retry_on => 'transient', retry_delays => '{10ms}');
my @ids = split /\n/, $node->safe_psql('postgres', <<'SQL');
BEGIN;
SELECT invoke_cron_endpoint('/status/200');
SELECT invoke_cron_endpoint('/statuses/503,200');
SELECT wee5_cron.disarm() \g /dev/null
COMMIT;
SQL
my $old_transaction = $node->safe_psql('postgres', "SELECT xmin FROM wee5_cron.invocation WHERE id = $ids[0]");

sub freeze_all { $node->safe_psql($_, 'VACUUM (FREEZE)') for qw(postgres template0 template1); return }

# Stops the server, and starts it at a point where that many transactions have passed, with an empty page of pg_xact for the
# next ones.
my $per_segment = 8192 * 4 * 32;
sub transactions_pass {
    my ($number) = @_;
    freeze_all();
    my $next = $node->safe_psql('postgres', 'SELECT pg_snapshot_xmax(pg_current_snapshot())');
    my $segment = int(($next + $number) / $per_segment);
    $node->stop;
    PostgreSQL::Test::Utils::system_or_bail($node->config_data('--bindir') . '/pg_resetwal', '-x', $segment * $per_segment, $node->data_dir);
    my $file = sprintf '%s/pg_xact/%04X', $node->data_dir, $segment;
    open my $handle, '>:raw', $file or die "$file: $!";
    print $handle "\0" x ($per_segment / 4);
    close $handle or die "$file: $!";
    $node->start;
    return;
}
transactions_pass(1_200_000_000) for 1, 2;
freeze_all();
is($node->safe_psql('postgres', "SELECT age('$old_transaction'::xid) < 0"), 't', 'the id of the transaction that made the calls lies in the future');

$node->safe_psql('postgres', 'SELECT wee5_cron.arm()');
fields_are($node->finished('postgres', $ids[0]), { status => 'succeeded', attempts => 1 }, 'a call that waited for that long is sent');
fields_are($node->finished('postgres', $ids[1]), { status => 'succeeded', attempts => 2 }, '... and another one is retried');
is(scalar(my @heard = $receiver->requests), 3, '... and nothing is sent too often');
fields_are($node->finished('postgres', $node->call('postgres', '/status/201')), { status => 'succeeded' }, '... and a new call succeeds');
fields_are($node->one_row('postgres', 'SELECT state, last_error FROM wee5_cron.worker'), { state => 'idle', last_error => undef }, '... and the worker is idle without an error');
$node->safe_psql('postgres', "UPDATE wee5_cron.invocation SET finished_at = finished_at - interval '1 year'");
is($node->safe_psql('postgres', 'SELECT wee5_cron.prune() >= 0'), 't', '... and prune() works');
$node->log_is_sane;
done_testing();
