# The name of one role's app is looked up for ever: other calls are delivered meanwhile, in this database and in others; its
# own calls can be cancelled, and the server stops without waiting for the lookup.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

use Config;

# Whether a thread of the worker would take one of the signals that Postgres uses.
my ($worker, %number);
@number{ split ' ', $Config{sig_name} } = split ' ', $Config{sig_num};
sub takes_a_signal {
    my ($thread) = @_;
    my ($blocked) = slurp_file("/proc/$worker/task/$thread/status") =~ /^SigBlk:\s*([0-9a-f]+)/m;
    return grep { !(hex(substr $blocked, -8) >> ($number{$_} - 1) & 1) } qw(HUP INT QUIT USR1 USR2 ALRM TERM CHLD URG);
}

# The server's own timeout for a connection is longer than this test.
my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Node->new_configured('main', conf => "wee5_cron.connect_timeout = '1h'\nwee5_cron.request_timeout = '6h'");
my $hanging_names = "$PostgreSQL::Test::Utils::tmp_check/hanging_names.so";
system_or_bail('cc', '-shared', '-fPIC', '-O1', '-o', $hanging_names, "$FindBin::RealBin/../support/hanging_names.c", '-ldl');

sub start {
    local $ENV{LD_PRELOAD} = $hanging_names;
    $node->start;
    return;
}
start();
$node->install($_, api_url => $receiver->url, secret => 'the secret') for qw(postgres another);
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE stuck LOGIN;
SELECT wee5_cron.grant_to('stuck', 'operate');
ALTER ROLE stuck SET app.settings.api_url = 'http://app.hangs.internal';
SQL

my $stuck = $node->psql_as('stuck', 'postgres',
    "SELECT string_agg(invoke_cron_endpoint('/stuck')::text, ',') FROM generate_series(1, 20)");
ok($node->poll_query_until('postgres', "SELECT count(*) = 20 FROM wee5_cron.invocation WHERE id IN ($stuck) AND status = 'sending'"),
    'calls whose lookup hangs are in flight');
$node->safe_psql($_, "SELECT count(invoke_cron_endpoint('/fast')) FROM generate_series(1, 200)") for qw(postgres another);
$node->wait_until_all_finished('another');
is_deeply($node->statuses('another'), { succeeded => 200 }, 'calls of another database succeed');
ok($node->poll_query_until('postgres', "SELECT count(*) = 200 FROM wee5_cron.invocation WHERE endpoint_path = '/fast' AND status = 'succeeded'"),
    'other calls of the same database succeed');
fields_are($node->finished('postgres', $node->call('postgres', '/stuck')), { status => 'succeeded' }, '... and so does one of the same path by another role');
is($node->safe_psql('postgres', "SELECT in_flight FROM wee5_cron.worker WHERE datname = 'postgres'"), 20, '... and the lookups still hang');

# libcurl looks names up in threads. A signal to the worker must not be taken by one of them.
$worker = $node->safe_psql('postgres', "SELECT pid FROM wee5_cron.worker WHERE datname = 'postgres'");
my @threads = grep { $_ != $worker } map { m{(\d+)$} } glob "/proc/$worker/task/*";
cmp_ok(scalar @threads, '>=', 20, 'names are looked up in threads');
my @open = grep { takes_a_signal($_) } @threads;
is_deeply(\@open, [], '... and none of them takes a signal of the server');

# A lookup by doctor() has a limit, and its session can be cancelled.
is($node->safe_psql('postgres', "SELECT error FROM wee5_cron.resolve_host('app.hangs.internal', 300)"), 'no answer within 300 ms',
    'resolve_host() returns at its timeout');
my ($status, undef, $stderr) = $node->psql('postgres', "SET statement_timeout = '300ms'; SELECT wee5_cron.resolve_host('app.hangs.internal', 3600000)");
isnt($status, 0, '... and can be cancelled');
like($stderr, qr/canceling statement due to statement timeout/, '... by statement_timeout');

my ($given_up) = $stuck =~ /^(\d+)/;
is($node->safe_psql('postgres', "SELECT wee5_cron.cancel($given_up)"), 't', 'a call whose lookup hangs can be cancelled');
fields_are($node->finished('postgres', $given_up), { status => 'cancelled' }, '... and ends as cancelled');

# The address is corrected while the lookups hang. A restart waits for none of them.
$node->safe_psql('postgres', 'ALTER ROLE stuck SET app.settings.api_url = ' . "'" . $receiver->url . "'");
$ENV{PGCTLTIMEOUT} = $PostgreSQL::Test::Utils::timeout_default;
$node->stop('fast');
pass('the server stops while lookups hang');
start();
$node->wait_until_all_finished('postgres');
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE id IN ($stuck) AND status = 'succeeded'"), 19,
    'after a restart with a working address these calls succeed');
is(scalar(() = $receiver->requests('/stuck')), 20, '... and each was sent once');

$node->log_is_sane;
done_testing();
