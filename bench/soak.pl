# Does the work of bench/soak, with the modules of the TAP tests: soak.pl <seconds> <seed>.
use strict;
use warnings;

use Wee5Cron::Test;
use Wee5Cron::Audit;
use Time::HiRes qw(usleep);

my ($seconds, $seed) = @ARGV;
srand $seed;

# Waits for a random time between the two, in milliseconds, because faults must come at any moment.
sub pause { my ($from, $to) = @_; return usleep(1000 * ($from + int rand($to - $from))); }

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Node->start_new('soak', conf => <<'CONF', init => { extra => [ '--encoding=UTF8', '--locale=C', '--wal-segsize=1' ] });
restart_after_crash = on
fsync = on
max_worker_processes = 24
wee5_cron.max_in_flight = 64
CONF
$node->install($_, api_url => $receiver->url, secret => 'the secret') for qw(soaked beside);
my $audit = Wee5Cron::Audit->new($node, 'soaked', $receiver);
$receiver->release_for_good;

sub is_up {
    $node->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die "the server did not come back\n";
    return;
}

sub pids {
    my ($type, $database) = @_;
    my $where = $database ? "AND datname = '$database'" : '';
    return split /\n/, $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = '$type' $where");
}

# Kills one process. The server then restarts all of them.
sub crash_by {
    my (@pids) = @_;
    return unless @pids;
    $audit->worker_dies;
    kill 'KILL', $pids[0];
    # The server answers as before until the postmaster notices.
    $node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pids[0]");
    is_up();
    return;
}

# A session that has made calls which it will not commit.
sub open_transaction {
    my $session = $node->background_psql('soaked');
    $session->query_safe('BEGIN; SELECT count(x) FROM (' . $audit->calls(50, 'rolled-back') . ') q(x)');
    return $session;
}

my %faults = (
    'kill -9 of the worker'   => sub { crash_by(pids('wee5_cron worker', 'soaked')) },
    'kill -9 of the launcher' => sub { crash_by(pids('wee5_cron launcher')) },
    'kill -9 of the checkpointer' => sub { crash_by(pids('checkpointer')) },
    'kill -9 of a backend that makes calls' => sub {
        my $session = open_transaction();
        crash_by($session->query_safe('SELECT pg_backend_pid()'));
        eval { $session->quit };
    },
    'pg_terminate_backend of the worker' => sub {
        $audit->worker_dies;
        $node->safe_psql('postgres', "SELECT pg_terminate_backend($_)") for pids('wee5_cron worker', 'soaked');
    },
    'pg_terminate_backend of the launcher' => sub {
        $node->safe_psql('postgres', "SELECT pg_terminate_backend($_)") for pids('wee5_cron launcher');
    },
    'pg_cancel_backend of the worker' => sub {
        $node->safe_psql('postgres', "SELECT pg_cancel_backend($_)") for pids('wee5_cron worker', 'soaked');
    },
    'immediate shutdown' => sub { $audit->worker_dies; $node->restart_immediately },
    'fast shutdown'      => sub { $audit->worker_dies; $node->restart },
    'a crash of the other database\'s worker' => sub { crash_by(pids('wee5_cron worker', 'beside')) },
    'the disk is full' => sub {
        for my $pid (pids('wee5_cron worker', 'soaked')) {
            system_or_bail('prlimit', "--pid=$pid", '--fsize=1048576:');
            pause(100, 1500);
            system_or_bail('prlimit', "--pid=$pid", '--fsize=unlimited:');
        }
    },
    'the ledger is locked' => sub {
        my $session = $node->background_psql('soaked');
        $session->query_safe('BEGIN; LOCK TABLE wee5_cron.invocation IN ACCESS EXCLUSIVE MODE');
        pause(100, 1500);
        $session->query_safe('COMMIT');
        $session->quit;
    },
    'rows are locked' => sub {
        my $session = $node->background_psql('soaked');
        $session->query_safe('BEGIN; SELECT count(*) FROM (SELECT FROM wee5_cron.invocation ORDER BY id DESC LIMIT 200 FOR UPDATE) l');
        pause(100, 1500);
        $session->query_safe('ROLLBACK');
        $session->quit;
    },
    'VACUUM FULL'               => sub { $node->safe_psql('soaked', 'VACUUM FULL wee5_cron.invocation') },
    'CREATE DATABASE TEMPLATE'  => sub {
        $audit->worker_dies;
        $node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE soaked');
        # The copy must not send what the original sends.
        $node->safe_psql('postgres', 'DROP DATABASE copy');
    },
    'RENAME there and back' => sub {
        $audit->worker_dies;
        $node->safe_psql('postgres', 'BEGIN; ALTER DATABASE soaked RENAME TO moved; ALTER DATABASE moved RENAME TO soaked; COMMIT');
    },
    'DROP DATABASE of another one' => sub {
        $node->safe_psql('postgres', 'CREATE DATABASE another');
        $node->safe_psql('postgres', 'DROP DATABASE another');
    },
    'nobody is answered for a while' => sub { $receiver->hold; pause(100, 1500); $receiver->release_for_good },
);

my %work = (
    'many calls' => sub { $audit->commit_calls(100 + int rand 900) },
    'a few calls' => sub { $audit->commit_calls(1 + int rand 5) for 1 .. 5 },
    'calls that are rolled back' => sub { $audit->roll_back_calls(100) },
    # These may or may not survive a crash. If one does not, it must not have been sent.
    'calls without waiting for the disk' => sub {
        $node->safe_psql('soaked', 'SET synchronous_commit = off; SELECT count(x) FROM (' . $audit->calls(100, 'unsure') . ') q(x)');
    },
);

my $until = time + $seconds;
my %done;
while (time < $until) {
    for (1 .. 1 + int rand 3) {
        my $what = (sort keys %work)[ int rand keys %work ];
        $work{$what}->();
    }
    pause(0, 300);
    my $what = (sort keys %faults)[ int rand keys %faults ];
    note(sprintf '%3d s left: %s', $until - time, $what);
    $faults{$what}->();
    $done{$what}++;
}
diag(sprintf '%4d times %s', $done{$_}, $_) for sort keys %done;

$audit->nothing_is_lost('after ' . $seconds . ' s');
diag(scalar($audit->deliveries) . ' requests, ' . $audit->repeats . ' calls sent more than once');
fields_are($node->finished('beside', $node->call('beside', '/beside')), { status => 'succeeded' }, '... the database beside it works');
# The kills of this test leave no such lines in the log.
$node->log_is_sane;
done_testing();
