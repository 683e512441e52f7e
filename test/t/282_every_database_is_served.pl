# Many more databases with the extension than background workers: a call in each is delivered, after a start, a crash and a
# promotion. Then everything sleeps. Creating a hundred databases takes most of this test's time.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Time::HiRes qw(time);
use Wee5Cron::Test;

# WEE5_DATABASES=30 makes a run by hand faster. Use more than there are background workers.
my $databases = $ENV{WEE5_DATABASES} // 100;
my $receiver  = Wee5Cron::Receiver->start(secret => 'the secret');
my $node      = Wee5Cron::Node->new_configured('main', preload => 'wee5_cron', init => { allows_streaming => 1 },
    conf => "autovacuum = off\nfsync = off\nmax_worker_processes = 16\ncheckpoint_timeout = '1h'\nrestart_after_crash = on\n");
$node->start;
$node->safe_psql('postgres',
    "ALTER ROLE ALL SET app.settings.api_url = '" . $receiver->url . "'; ALTER ROLE ALL SET app.settings.cron_secret = 'the secret'");
$node->install('original', pg_cron => 0);
# A copy makes no calls before it is armed, and without connections it has no worker in the way.
$node->safe_psql('postgres', 'ALTER DATABASE original ALLOW_CONNECTIONS false; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $$original$$');
my @names = map { "d$_" } 1 .. $databases;
my @some  = @names[ 0 .. $databases * 0.4 - 1 ];
$node->safe_psql('postgres', join "\n", map { "CREATE DATABASE $_ TEMPLATE original;" } @names);

# The same statement in each database, by one psql.
sub in_each {
    my ($server, $sql, @where) = @_;
    my $answer = $server->safe_psql('postgres', join "\n", map { my $s = $sql =~ s/%d/$_/gr; "\\connect $_\n$s;" } @where);
    return split /\n/, $answer;
}
in_each($node, 'SELECT wee5_cron.arm()', @names);

sub heard {
    my ($pattern) = @_;
    my %urls = map { $_->{url} => 1 } grep { $_->{url} =~ $pattern } $receiver->requests;
    return scalar keys %urls;
}

# A call in each; all of them arrive. The time is printed, not judged: the machine may have other work.
sub all_are_served {
    my ($server, $round, $name, @where) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $from = time;
    in_each($server, "SELECT invoke_cron_endpoint('/$round?from=%d')", @where);
    my $committed = time;
    return all_are_heard($server, $round, $name, $from, $committed, @where);
}

sub all_are_heard {
    my ($server, $round, $name, $from, $committed, @where) = @_;
    my $heard = 0;
    while (($heard = heard(qr{^/$round\?})) < @where && time < $committed + 150) { select undef, undef, undef, 0.1 }
    note(sprintf '%s: all committed after %.1f s, all delivered %.1f s later', $name, $committed - $from, time - $committed);
    my $good = is($heard, scalar @where, "$name: a call in each of " . @where . ' databases is on the wire');
    diag(join "\n", in_each($server, "SELECT to_json(w) FROM wee5_cron.worker w WHERE pid IS NOT NULL OR state <> 'asleep'", $where[0])) unless $good;
    return $good;
}

all_are_served($node, 'first', '16 background workers', @names);
my ($workers) = $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'wee5_cron worker'");
cmp_ok($workers, '<=', 14, '... by no more workers than the server has slots for');

# Calls are on the wire, or wait for a worker, when the power fails.
$receiver->hold;
in_each($node, "SELECT invoke_cron_endpoint('/hang?from=%d')", @names);
$receiver->wait_for_requests('/hang');
$node->stop('immediate');
$receiver->release_for_good;
my $started = time;
$node->start;
all_are_heard($node, 'hang', 'after an immediate restart, without a connection', $started, time, @names);
all_are_served($node, 'again', '... and with calls that are made then', @names);

# One process crashes: Postgres restarts all others.
my $pid = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'wee5_cron worker' LIMIT 1");
kill 'KILL', $pid;
$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid") or die;
all_are_served($node, 'crash', 'after a crash', @names);

# Every process without work sleeps, whoever else waits.
sub switches {
    my ($process) = @_;
    my $status = slurp_file("/proc/$process/status");
    my $sum = 0;
    $sum += $_ for $status =~ /ctxt_switches:\s+(\d+)/g;
    return $sum;
}
sub all_sleep {
    my ($server, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $is_quiet = 0;
    for (1 .. 40) {
        my %before = map { $_ => switches($_) } split /\n/, $server->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'wee5_cron%'");
        select undef, undef, undef, 3;
        $is_quiet = !grep { !-e "/proc/$_" || switches($_) != $before{$_} } keys %before;
        last if $is_quiet;
    }
    return ok($is_quiet, "$name: no process wakes up for three seconds");
}
SKIP: {
    skip 'no /proc here', 1 unless -r '/proc/self/status';
    all_sleep($node, 'with nothing to do');
}
# Databases without a worker stay listed, and their counters are kept.
my %states = map { $_->{state} => $_->{n} } $node->rows('d1', 'SELECT state, count(*)::int AS n FROM wee5_cron.worker GROUP BY state');
is_deeply([ sort keys %states ], [ 'asleep', 'idle' ], 'wee5_cron.worker lists sleeping and idle workers') or diag(explain(\%states));
is($node->safe_psql('d1', "SELECT count(*) FROM wee5_cron.worker WHERE datname ~ '^d' AND sent >= 1 AND succeeded >= 1"), $databases,
    'wee5_cron.worker keeps the counters of every database since the start');
is($node->safe_psql('d1', "SELECT count(*) FROM wee5_cron.worker WHERE (state = 'asleep') <> (pid IS NULL)"), 0, '... and a sleeping worker has no process');
is($node->safe_psql('d1', "SELECT status FROM wee5_cron.doctor() WHERE check_name = 'worker'"), 'ok', 'doctor() reports a sleeping worker as ok');
like($node->safe_psql('d1', "SELECT status || ': ' || detail || ': ' || hint FROM wee5_cron.doctor() WHERE check_name = 'worker_slots'"),
    qr/^warning: .*take turns.*max_worker_processes = \d+;/s, '... and warns that databases take turns, with the setting to raise');

# Now with even fewer background workers.
$node->append_conf('postgresql.conf', "max_worker_processes = 8\n");
$node->restart_immediately;
all_are_served($node, 'eight', '8 background workers', @some);

# A standby takes over.
$node->backup('base');
my $standby = Wee5Cron::Node->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', "max_worker_processes = 12\n");
$standby->start;
$receiver->hold;
in_each($node, "SELECT invoke_cron_endpoint('/hang?promoted=%d')", @some);
$node->wait_for_catchup($standby, 'replay', $node->lsn('flush'));
$node->stop('immediate');
$receiver->release_for_good;
$started = time;
$standby->promote;
{
    my $heard = 0;
    while (($heard = heard(qr{^/hang\?promoted})) < @some && time < $started + 150) { select undef, undef, undef, 0.1 }
    note(sprintf 'after the promotion: all delivered after %.1f s', time - $started);
    is($heard, scalar @some, 'after a promotion the queued calls of each database are sent');
}
all_are_served($standby, 'standby', '... and a call in each', @names);

# In the ledgers, too, each call has succeeded.
for my $database (@names) {
    $standby->poll_query_until($database, 'SELECT count(*) = 0 FROM wee5_cron.invocation WHERE finished_at IS NULL')
      or die "calls of $database have not ended";
}
is_deeply([ sort { $a cmp $b } map { $_->{status} } map { $standby->rows($_, 'SELECT DISTINCT status FROM wee5_cron.invocation') } @names ],
    [ ('succeeded') x $databases ], 'every call of every database has succeeded');

$_->log_is_sane for $node, $standby;
done_testing();
