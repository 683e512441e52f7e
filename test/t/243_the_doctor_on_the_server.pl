# doctor() on the server: libraries, pg_cron's database, slots for workers, the worker, a second database, a standby. The
# test runs each hint as it stands, and the hint has to help.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Doctor;
use Wee5Cron::Test fixtures => ['wee5_cron'];

my $secret   = 'canary-of-the-doctor-1729';
my $receiver = Wee5Cron::Receiver->start(secret => $secret);

# Step by step, from a server that preloads nothing.
my $node = Wee5Cron::Node->new_configured('main', preload => '', init => { allows_streaming => 1 });
$node->append_conf('postgresql.conf', "cron.use_background_workers = on");
$node->start;
$node->install('postgres', api_url => $receiver->url, secret => $secret, pg_cron => 0);
my $doctor = Wee5Cron::Doctor->new($node, 'postgres');

my $bare = $doctor->red('pg_cron_loaded', 'error', qr/no job runs/, 'pg_cron is not preloaded');
is($bare, "ALTER SYSTEM SET shared_preload_libraries = 'pg_cron', 'wee5_cron';\n-- then restart the server", '... and the hint is the whole statement');
$doctor->red('pg_cron_created', 'error', qr/not installed in database "postgres"/, 'pg_cron is not created');
$doctor->green('pg_cron_launcher', 'pg_cron that is not created', qr/^does not apply/);
my $hint = $doctor->red('library_preloaded', 'error', qr/no builtin transport/, 'the library is not preloaded');
is($doctor->red('transport', 'error', qr/needs wee5_cron in shared_preload_libraries/, 'no transport works'), $bare, '... and the hint is the same statement');
is($doctor->red('protect_secret', 'warning', qr/not preloaded: every role may SHOW/, 'the secret is unprotected without the library'), $bare, '... and the hint is the same statement');
is($hint, $bare, '... and the hint for the library is the same statement');
$doctor->green('worker', 'the library that is not preloaded', qr/^does not apply/);

# Each hint in turn keeps what is already preloaded.
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'auto_explain'");
$node->restart;
is($doctor->red('library_preloaded', 'error', qr/./, 'the library is not preloaded, but another one is'),
    "ALTER SYSTEM SET shared_preload_libraries = 'auto_explain', 'pg_cron', 'wee5_cron';\n-- then restart the server", '... and the hint keeps auto_explain and adds pg_cron');
$doctor->red_then_green('library_preloaded', 'error', qr/no builtin transport/, 'the library is not preloaded', restart => 1);
$doctor->green($_, "after the hint for library_preloaded") for qw(transport protect_secret worker pg_cron_loaded);
$node->safe_psql('postgres', "ALTER SYSTEM SET shared_preload_libraries = 'auto_explain', 'wee5_cron'");
$node->restart;
is($doctor->red('pg_cron_loaded', 'error', qr/./, 'only pg_cron is not preloaded'), "ALTER SYSTEM SET shared_preload_libraries = 'auto_explain', 'wee5_cron', 'pg_cron';\n-- then restart the server", '... and the hint keeps the other libraries');
$doctor->red_then_green('pg_cron_loaded', 'error', qr/no job runs/, 'pg_cron is not preloaded', restart => 1);
# Seen from another database, while no database has pg_cron.
$node->install('shadow');
my $shadow = Wee5Cron::Doctor->new($node, 'shadow');
$shadow->red('pg_cron_created', 'warning', qr/no sign of it in database "postgres"/, 'pg_cron is created in no database');
$doctor->red_then_green('pg_cron_created', 'error', qr/not installed in database "postgres"/, 'pg_cron is not created');
$node->poll_query_until('shadow', "SELECT status = 'ok' FROM wee5_cron.doctor() WHERE check_name = 'pg_cron_created'");
$shadow->green('pg_cron_created', 'another database after the hint', qr/^pg_cron is in database "postgres"/);
$node->safe_psql('postgres', 'DROP DATABASE shadow');
$doctor->green('jobs_made', 'the hint makes the jobs', qr/^3 jobs/);
$doctor->green('pg_cron_launcher', 'after the hint pg_cron runs jobs');

# pg_cron serves another database, or none.
$node->safe_psql('postgres', 'CREATE DATABASE "Elsewhere"');
for my $case ([ 'Elsewhere', 'pg_cron_database', qr/cron\.database_name is "Elsewhere"/ ], [ 'nowhere', 'pg_cron_launcher', qr/there is no database "nowhere"/ ]) {
    my ($database, $check, $why) = @$case;
    $node->safe_psql('postgres', "ALTER SYSTEM SET cron.database_name = '$database'");
    $node->restart;
    # Its launcher runs for a moment before it finds out.
    $node->poll_query_until('postgres', "SELECT status = 'error' FROM wee5_cron.doctor() WHERE check_name = '$check'");
    $doctor->red_then_green($check, 'error', $why, "cron.database_name is $database", restart => 1);
}
SKIP: {
    skip 'this pg_cron has no cron.launch_active_jobs', 3 unless $node->safe_psql('postgres', "SELECT 1 FROM pg_settings WHERE name = 'cron.launch_active_jobs'");
    $node->set_server('cron.launch_active_jobs', 'off');
    $doctor->red_then_green('pg_cron_launcher', 'error', qr/launch_active_jobs is off/, 'cron.launch_active_jobs is off');
}

# Slots. The logical replication launcher takes one, and so do pg_cron, our launcher and our worker.
$node->safe_psql('postgres', 'ALTER SYSTEM SET max_worker_processes = 3');
$node->restart;
like($doctor->red('worker', 'error', qr/this database has no worker/, 'no slot for the worker'), qr/worker_slots/, '... and its detail or hint names the setting to raise');
$doctor->red_then_green('worker_slots', 'error', qr/max_worker_processes is 3: 3 are in use, \d wait for one/, 'max_worker_processes is used up', restart => 1);
$doctor->green('worker', 'after the hint');
$node->safe_psql('postgres', 'ALTER SYSTEM SET max_worker_processes = 6');
$node->restart;
$node->wait_for_worker('postgres');
$doctor->red_then_green('worker_slots', 'warning', qr/max_worker_processes is 6: 4 are in use, \d wait for one, and pg_cron may need 3 at once/, "no slots for pg_cron's jobs", restart => 1);

# The worker: SQL of another version, a table that another session has locked.
my $version = $node->safe_psql('postgres', "SELECT default_version FROM pg_available_extensions WHERE name = 'wee5_cron'");
my $older = $node->config_data('--sharedir') . "/extension/wee5_cron--wee5fixture--$version.sql";
die "there is no version to come from: run test/support/install_wee5_cron_fixture install\n" unless -e $older;
if ($node->safe_psql('postgres', 'SHOW server_version_num') >= 180000) {
    is($node->safe_psql('postgres', "SELECT version FROM pg_get_loaded_modules() WHERE module_name = 'wee5_cron'"), $version,
        'the server reports the version of the library it has loaded');
}
$node->safe_psql('postgres', "UPDATE pg_extension SET extversion = 'wee5fixture' WHERE extname = 'wee5_cron'");
my $update = $doctor->red('library_version', 'error', qr/the library has version \Q$version\E, but the SQL of this database has version wee5fixture/, 'the versions of library and SQL differ');
$node->call('postgres', '/hello');
$node->poll_query_until('postgres', "SELECT state = 'incompatible' FROM wee5_cron.worker WHERE datname = 'postgres'");
like($doctor->red('worker', 'error', qr/is incompatible/, 'the worker is incompatible'), qr/library_version/, '... and its hint points to library_version');
$doctor->paste($update, 'the hint of library_version runs as SQL');
$doctor->green('library_version', 'after the hint');
$node->wait_until_all_finished('postgres');
pass('... and the worker sends calls again');

my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE wee5_cron.attempt IN SHARE MODE');
$node->call('postgres', '/hello');
$node->poll_query_until('postgres', "SELECT state = 'blocked' FROM wee5_cron.worker WHERE datname = 'postgres'");
$hint = $doctor->red('worker', 'error', qr/is blocked: \S/, 'another session has locked a table of the ledger');
like($node->safe_psql('postgres', $hint), qr/LOCK TABLE wee5_cron\.attempt/, '... and its hint shows that session');
$holder->query_safe('COMMIT');
$holder->quit;
$node->wait_until_all_finished('postgres');
$node->poll_query_until('postgres', "SELECT status = 'ok' FROM wee5_cron.doctor() WHERE check_name = 'worker'");
$doctor->green('worker', 'after the lock was released');

# Calls that are overdue.
$node->block_the_wire('postgres', $receiver);
$node->call('postgres', '/behind') for 1 .. 2;
$node->safe_psql('postgres', "UPDATE wee5_cron.invocation SET requested_at = now() - interval '2 minutes' WHERE endpoint_path = '/behind'");
$doctor->paste($doctor->red('queue', 'warning', qr/^due calls that have waited for more than a minute: 2,/, 'overdue calls'), 'overdue calls: the hint runs as SQL');
$receiver->release_for_good;
$node->wait_until_all_finished('postgres');
$doctor->green('queue', 'when the calls have ended');

# A database without pg_cron: the hint is for the database that has it.
$node->install('app', api_url => $receiver->url, secret => $secret);
my $elsewhere = Wee5Cron::Doctor->new($node, 'app');
$elsewhere->green('pg_cron_created', 'pg_cron is in another database', qr/pg_cron is in database "postgres"/);
$hint = $elsewhere->red('jobs_made', 'warning', qr/no job has made a call/, 'a database without pg_cron has no job');
$doctor->paste($hint, "a database without pg_cron: the hint runs as SQL in pg_cron's database");
is($node->safe_psql('postgres', "SELECT count(*) FROM cron.job WHERE database = 'app'"), 3, '... and makes the jobs');
my $command = $node->safe_psql('postgres', "SELECT command FROM cron.job WHERE jobname = 'poll-activities\@app'");
$node->finished('app', $node->safe_psql('app', "SET application_name = 'pg_cron'; $command"));
$elsewhere->green('jobs_made', 'jobs of another database whose calls are in this ledger', qr/from the ledger.*: poll-activities/);
is_deeply([ $elsewhere->complaints('cron_secret_readers') ], [], '... and every other check is ok');

# A database that accepts no connections gets no worker. Sessions that are open make calls all the same.
{
    my $open = $node->background_psql('app');
    $node->safe_psql('postgres', 'ALTER DATABASE app ALLOW_CONNECTIONS false');
    $node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'wee5_cron worker' AND datname = 'app'});
    $node->wait_until_no_worker('app');
    my $closed = $open->query_safe(q{SELECT invoke_cron_endpoint('/hello')});
    like($open->query_safe(q{SELECT status || ': ' || detail FROM wee5_cron.doctor() WHERE check_name = 'worker'}),
        qr/^error: this database accepts no connections, so it has no worker/, 'a database that accepts no connections: doctor() says so');
    $open->query_safe($open->query_safe(q{SELECT hint FROM wee5_cron.doctor() WHERE check_name = 'worker'}));
    fields_are($node->finished('app', $closed), { status => 'succeeded' }, '... and after its hint the call succeeds');
    $open->quit;
}

# A standby.
$node->backup('base');
my $standby = Wee5Cron::Node->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
my $watching = Wee5Cron::Doctor->new($standby, 'postgres');
$watching->green($_, "on a standby: $_", qr/does not apply: this is a standby/) for qw(worker pg_cron_launcher);
is(scalar(grep { $_->{detail} =~ /the check failed/ } $watching->lines), 0, 'on a standby no check fails with an error');

$_->log_is_sane for $node, $standby;
done_testing();
