# Fewer places than databases: for looking at them there are 512, and a worker takes one of max_worker_processes. Whoever
# has to wait says why, the others go on, and a place that becomes free is taken.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;
use Wee5Cron::Doctor;

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my @app = (api_url => $receiver->url, secret => 'the secret');

# All of max_worker_processes is in use: besides a worker the server's own launcher of logical replication, pg_cron's and
# ours.
{
    my $node = Wee5Cron::Node->start_new('full', conf => 'max_worker_processes = 4');
    $node->install('postgres', @app);
    $node->wait_for_worker('postgres');
    $node->install('waiting', @app);
    my $id = $node->call('waiting', '/waiting');
    ok($node->poll_query_until('waiting', "SELECT pid IS NULL AND last_error LIKE '%max_worker_processes%' FROM wee5_cron.worker WHERE datname = 'waiting'"),
        'no place for its worker: wee5_cron.worker says so');
    my $doctor = Wee5Cron::Doctor->new($node, 'waiting');
    $doctor->red('worker', 'error', qr/no free background worker slot: raise max_worker_processes/, '... and doctor(), too');
    like($doctor->red('worker_slots', 'error', qr/max_worker_processes is 4: 4 are in use/, '... with the number'),
        qr/ALTER SYSTEM SET max_worker_processes/, '... and what to do');
    fields_are($node->finished('postgres', $node->call('postgres', '/beside')), { status => 'succeeded' },
        '... the database that has a worker goes on');
    fields_are($node->invocation('waiting', $id), { status => 'queued' }, '... the other one\'s call waits');

    $node->safe_psql('postgres', 'DROP EXTENSION wee5_cron');
    fields_are($node->finished('waiting', $id), { status => 'succeeded', attempts => 1 }, 'a place becomes free, and it is delivered');
    $doctor->green('worker', '... and doctor() is content');
    $node->log_is_sane;
    $node->stop;
}

# More databases than can be looked at together. To make them is not worth the time and the disk: 600 rows of pg_database
# share the files of one, which nobody writes to. The one with the extension is the last in every order.
{
    my $node = Wee5Cron::Node->start_new('many', preload => 'wee5_cron', conf => 'autovacuum = off');
    $node->safe_psql('postgres', 'CREATE DATABASE plain');
    my $plain = $node->safe_psql('postgres', "SELECT oid FROM pg_database WHERE datname = 'plain'");
    $node->safe_psql('postgres', <<'SQL');
SET allow_system_table_mods = on;
INSERT INTO pg_database
SELECT (jsonb_populate_record(d, jsonb_build_object('oid', 8000 + n, 'datname', 'like_plain_' || n))).*
FROM pg_database d, generate_series(1, 600) n WHERE d.datname = 'plain';
SQL
    my $base = $node->data_dir . '/base';
    symlink $plain, "$base/" . (8000 + $_) or die "symlink: $!" for 1 .. 600;
    $node->install('last', @app);
    $node->wait_for_worker('last');
    # Queued and not sent when the server goes: afterwards nobody asks for a worker there.
    $receiver->hold;
    my $id = $node->call('last', '/hang');
    $receiver->wait_for_requests('/hang');
    $node->restart_immediately;
    $receiver->wait_for_requests('/hang', 2);
    $receiver->release_for_good;
    fields_are($node->finished('last', $id), { status => 'succeeded' }, '603 databases: the last one of them has its worker, too');
    ok($node->poll_query_until('last', "SELECT count(*) = 1 FROM wee5_cron.worker_slots()"), '... and keeps the only place in the end');
    unlike(slurp_file($node->logfile), qr/FATAL: .*(?:database|directory)/, '... no worker ended badly');
    $node->log_is_sane;
}

done_testing();
