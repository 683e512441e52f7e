# Fewer background workers than databases: databases take turns. A database that waits says why. A busy worker gives way in
# the end, and the pending work of a sleeping one is done. More databases than can be looked at together are all looked at.
use FindBin;
use lib "$FindBin::RealBin/../support";
use POSIX ();
use Time::HiRes qw(time);
use Wee5Cron::Test;
use Wee5Cron::Doctor;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my @app = (api_url => $receiver->url, secret => 'the secret');

# One slot for a worker: the launcher of logical replication and our own take the others.
my $node = Wee5Cron::Node->start_new('one', preload => 'wee5_cron', conf => 'max_worker_processes = 3');
$node->install($_, @app, pg_cron => 0) for qw(postgres a b);

sub state_is {
    my ($database, $condition) = @_;
    return $node->poll_query_until('postgres', "SELECT $condition FROM wee5_cron.worker WHERE datname = '$database'");
}

# Idle workers give way.
for my $round (1 .. 3) {
    fields_are($node->finished($_, $node->call($_, "/round?n=$round")), { status => 'succeeded', attempts => 1 }, "round $round: a call in $_")
      for qw(postgres a b);
}
ok(state_is('a', "state = 'asleep' AND pid IS NULL AND last_error IS NULL"), 'a worker that gave way is asleep, without an error');
ok(state_is('a', 'sent = 3 AND succeeded = 3 AND failed = 0'), '... and its counters are kept');
my $doctor = Wee5Cron::Doctor->new($node, 'a');
$doctor->green('worker', 'a worker that sleeps', qr/sleeps/);
is($node->safe_psql('a', "SELECT (wee5_cron.health()->>'ok') || ' ' || (wee5_cron.health()->>'worker')"), 'true asleep', 'health() is ok while the worker sleeps');

# There are places for 512 databases. Neither a session that has nothing to do with calls, nor one that makes a call, reads them all.
sub places_mapped {
    my ($session) = @_;
    my ($pid, $offset, $size) = split /\|/, $session->query_safe(
        q(SELECT pg_backend_pid(), off, size FROM pg_shmem_allocations WHERE name = 'wee5_cron'));
    my ($start) = slurp_file("/proc/$pid/maps") =~ m{^([0-9a-f]+)-\S+ rw-s \S+ \S+ \S+ +/dev/zero}m or die "no shared memory\n";
    my $page = POSIX::sysconf(POSIX::_SC_PAGESIZE());
    open my $map, '<:raw', "/proc/$pid/pagemap" or die "pagemap: $!";
    sysseek $map, int((hex($start) + $offset) / $page) * 8, 0 or die "pagemap: $!";
    my $count = int($size / $page) + 1;
    sysread($map, my $entries, 8 * $count) == 8 * $count or die "pagemap: $!";
    return (scalar(grep { $_ >> 63 } unpack 'Q<*', $entries), $count);
}
for my $case ([ 'reads', 'template1', 'SELECT count(*) FROM pg_class' ], [ 'writes', 'template1', 'CREATE TEMPORARY TABLE written ()' ],
    [ 'calls', 'a', q(SELECT invoke_cron_endpoint('/a-few-pages')) ]) {
    my ($does, $database, $statement) = @$case;
    my $session = $node->background_psql($database);
    $session->query_safe($statement);
    my ($mapped, $all) = places_mapped($session);
    cmp_ok($mapped, '<', $all / 2, "a session that $does maps few of the $all pages of the places for workers");
    $session->quit;
}
like($doctor->red('worker_slots', 'warning', qr/3 databases take turns/, 'databases that take turns'), qr/ALTER SYSTEM SET max_worker_processes = \d+/,
    '... and names the setting to raise');

# A sleeping worker has left a retry. The worker has to sleep before the retry is due, so a busy machine gets a longer
# delay.
my $was_asleep;
for my $delay (3, 20, 90) {
    $node->policy('a', '/statuses/503,200,503,200,503,200', retry_delays => "{${delay}s}");
    my $retried = $node->call('a', "/statuses/503,200,503,200,503,200?delay=$delay");
    $node->invocation_when('a', $retried, "status = 'retrying'");
    $node->finished('b', $node->call('b', '/in-between'));
    my $sleeps = qq{(SELECT state = 'asleep' FROM wee5_cron.worker WHERE datname = 'a')};
    $node->poll_query_until('a', "SELECT $sleeps OR finished_at IS NOT NULL FROM wee5_cron.invocation WHERE id = $retried") or die;
    # One query answers both. The query itself wakes nothing.
    $was_asleep = $node->safe_psql('a', "SELECT $sleeps AND finished_at IS NULL FROM wee5_cron.invocation WHERE id = $retried") eq 't';
    fields_are($node->finished('a', $retried), { status => 'succeeded', attempts => 2 }, "a retry after $delay s is made when it is due");
    last if $was_asleep;
}
ok($was_asleep, '... and its worker slept until then');

# A busy worker gives way when a database has waited for ten seconds, and repeats nothing.
$node->set_server('wee5_cron.max_in_flight', 2);
$node->safe_psql('a', "SELECT count(invoke_cron_endpoint('/slow?ms=200&n=' || n)) FROM generate_series(1, 400) n");
$receiver->wait_for_requests('/slow', 4);
my $from = time;
my $waiting = $node->call('b', '/waiting');
ok(state_is('b', "pid IS NULL AND last_error LIKE '%max_worker_processes%'"), 'a database that waits for a worker says why');
$doctor = Wee5Cron::Doctor->new($node, 'b');
like($doctor->red('worker', 'warning', qr/waits for its turn/, 'a database that waits for a worker'), qr/worker_slots/, '... and it names the setting');
fields_are($node->finished('b', $waiting), { status => 'succeeded', attempts => 1 }, 'a database that waits for a busy one gets a worker');
my $took = time - $from;
note(sprintf 'it waited for %.1f s', $took);
cmp_ok($node->safe_psql('a', "SELECT count(*) FROM wee5_cron.invocation WHERE finished_at IS NULL"), '>', 0, '... while the busy database still has calls to send');
cmp_ok($took, '>=', 9, '... after a turn of at least nine seconds');
$node->safe_psql('a', "SELECT count(wee5_cron.cancel(id)) FROM wee5_cron.invocation WHERE finished_at IS NULL");
$node->wait_until_all_finished('a');
is($node->safe_psql('a', "SELECT count(*) FROM wee5_cron.invocation WHERE attempts > 1 AND endpoint_path LIKE '/slow%'"), 0, '... and no call of the busy database is repeated');
my %times;
$times{ $_->{url} }++ for $receiver->requests('/slow');
is(scalar(grep { $_ > 1 } values %times), 0, '... and the app saw none twice');

# A long request is not cut off so that another database gets its turn.
$receiver->hold;
my $long = $node->call('a', '/hang');
$receiver->wait_for_requests('/hang');
my $patient = $node->call('b', '/patient');
$node->poll_query_until('postgres', "SELECT clock_timestamp() > requested_at + interval '12 s' FROM (SELECT '" . $node->invocation('b', $patient)->{requested_at} . "'::timestamptz AS requested_at) r");
fields_are($node->invocation('b', $patient), { status => 'queued' }, 'a call stays queued while a long request of another database is on the wire');
my $new = $node->call('a', '/new');
$receiver->release_for_good;
fields_are($node->finished($_->[0], $_->[1]), { status => 'succeeded', attempts => 1 }, '... and all are served: ' . $_->[2])
  for [ a => $long, 'the long one' ], [ b => $patient, 'the one that waited' ], [ a => $new, 'the new one' ];
is_deeply([ map { $_->{path} } grep { $_->{path} =~ m{^/(patient|new)$} } $receiver->requests ], [ '/patient', '/new' ],
    '... and the new one comes after the one that waited, since its worker had been asked to give way');

# The row of a sleeping worker is not a secret. Its last error may be one.
$node->safe_psql('postgres', 'CREATE ROLE reader LOGIN; CREATE ROLE monitor LOGIN; GRANT pg_read_all_stats TO monitor');
for my $role (qw(reader monitor)) { $node->safe_psql('postgres', "SELECT wee5_cron.grant_to('$role', 'read')") }
$node->safe_psql('b', "SELECT wee5_cron.disarm('for a reason')");
ok(state_is('b', "last_error LIKE '%arm%'"), 'a disarmed database shows that as its error, even while its worker sleeps');
my $error_is_hidden = "SELECT last_error IS NULL FROM wee5_cron.worker WHERE datname = 'b'";
is($node->psql_as('reader', 'postgres', $error_is_hidden), 't', "a reader of another database does not see the last error");
is($node->psql_as('monitor', 'postgres', $error_is_hidden), 'f', 'a member of pg_read_all_stats sees the last error');
$node->safe_psql('postgres', 'ALTER DATABASE b OWNER TO reader');
is($node->psql_as('reader', 'postgres', $error_is_hidden), 'f', 'the owner of that database sees the last error');
$node->finished('a', $node->call('a', '/beside'));
ok(state_is('b', "state = 'asleep' AND last_error IS NOT NULL"), 'a worker that is disarmed gives way');
$node->set_server('wee5_cron.enabled', 'off');
$node->set_server('wee5_cron.enabled', 'on');
$node->safe_psql('b', 'SELECT wee5_cron.arm()');
fields_are($node->finished('b', $node->call('b', '/armed')), { status => 'succeeded' }, '... and sends calls once it is armed');

# No slot is free: other programs have them all. None of our workers can make room, but a slot that becomes free is found.
$node->safe_psql('postgres', 'ALTER SYSTEM SET max_worker_processes = 2');
$node->restart;
my $nowhere = $node->call('a', '/nowhere');
ok(state_is('a', "pid IS NULL AND state = 'starting' AND last_error LIKE '%max_worker_processes%'"), 'without a free slot wee5_cron.worker says so');
$doctor = Wee5Cron::Doctor->new($node, 'a');
like($doctor->red('worker_slots', 'error', qr/max_worker_processes is 2: 2 are in use/, 'no free slot'), qr/ALTER SYSTEM SET max_worker_processes/, '... and it has the statement to run');
$node->safe_psql('postgres', 'ALTER SYSTEM SET max_worker_processes = 16');
$node->restart;
fields_are($node->finished('a', $nowhere), { status => 'succeeded', attempts => 1 }, '... and the call succeeds once a slot is free');
$node->wait_for_worker($_) for qw(postgres a b);
$doctor->green('worker_slots', 'with a slot for each database');
$node->log_is_sane;
$node->stop;

# More databases than can be looked at together. Creating them is not worth the time and the disk: 600 rows of pg_database
# share the files of one database, which nothing writes to. The one with the extension sorts last in every order.
{
    my $many = Wee5Cron::Node->start_new('many', preload => 'wee5_cron', conf => 'autovacuum = off');
    my $rows = 600;
    $many->safe_psql('postgres', 'CREATE DATABASE plain');
    my $plain = $many->safe_psql('postgres', "SELECT oid FROM pg_database WHERE datname = 'plain'");
    $many->safe_psql('postgres', <<"SQL");
SET allow_system_table_mods = on;
INSERT INTO pg_database
SELECT (jsonb_populate_record(d, jsonb_build_object('oid', 8000 + n, 'datname', 'like_plain_' || n))).*
FROM pg_database d, generate_series(1, $rows) n WHERE d.datname = 'plain';
SQL
    my $base = $many->data_dir . '/base';
    symlink $plain, "$base/" . (8000 + $_) or die "symlink: $!" for 1 .. $rows;
    $many->install('last', @app);
    $many->wait_for_worker('last');
    # This call is queued and not sent when the server stops: after the start nothing asks for a worker there.
    $receiver->hold;
    my $before = () = $receiver->requests('/hang');
    my $id = $many->call('last', '/hang');
    $receiver->wait_for_requests('/hang', $before + 1);
    $many->restart_immediately;
    # The launcher looks at them one after the other.
    my $patience = 3000;
    until ($before + 2 <= (my @hanging = $receiver->requests('/hang')) or !$patience--) { select undef, undef, undef, 0.1 }
    $receiver->release_for_good;
    fields_are($many->finished('last', $id), { status => 'succeeded' }, 'the last of many databases gets its worker');
    ok($many->poll_query_until('last', "SELECT count(*) = 1 FROM wee5_cron.worker_slots()"), '... and keeps the only slot in the end');
    unlike(slurp_file($many->logfile), qr/FATAL: .*(?:database|directory)/, '... and no worker ended with an error');
    $many->log_is_sane;
}

done_testing();
