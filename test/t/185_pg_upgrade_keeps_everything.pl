# pg_upgrade, to a newer PostgreSQL if this machine has one with the extension, else to the same version: rows, ids, jobs,
# settings and privileges are kept, and so are the rows that belong to this server alone. The database stays armed, and queued
# calls are sent afterwards.
use Cwd qw(getcwd);
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;
use Wee5Cron::Doctor;

# The newest version with pg_upgrade, pg_cron and our extension; Debian's places.
sub newest_version {
    my ($own_bin) = @_;
    my ($own) = $own_bin =~ m{/(\d+)/bin$};
    return undef unless defined $own;
    my @newer = grep {
             $_ > $own
          && -x "/usr/lib/postgresql/$_/bin/pg_upgrade"
          && -e "/usr/share/postgresql/$_/extension/wee5_cron.control"
          && -e "/usr/share/postgresql/$_/extension/pg_cron.control"
    } map { m{/(\d+)$} ? $1 : () } glob '/usr/lib/postgresql/*';
    return (sort { $b <=> $a } @newer)[0];
}

my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $old      = Wee5Cron::Node->start_new('old');
my $old_bin  = $old->config_data('--bindir');
my $newer    = newest_version($old_bin);
my @place    = $newer ? (install_path => "/usr/lib/postgresql/$newer") : ();
note('from ' . $old_bin . ' to ' . ($newer // 'the same version'));

$old->safe_psql('postgres', <<'SQL');
CREATE EXTENSION pg_cron;
CREATE ROLE app_owner LOGIN; CREATE ROLE reader LOGIN;
CREATE FUNCTION install() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS
  $$ BEGIN SET wee5_cron.default_jobs = on; CREATE EXTENSION wee5_cron; END $$;
SET SESSION AUTHORIZATION app_owner;
SELECT public.install();
RESET SESSION AUTHORIZATION;
DROP FUNCTION install();
SELECT cron.unschedule(jobid) FROM cron.job WHERE jobname = 'daily-analytics';
UPDATE cron.job SET schedule = '0 0 1 1 *';
SELECT wee5_cron.grant_to('reader', 'read');
INSERT INTO wee5_cron.endpoint (endpoint_path, retry_on, retry_delays) VALUES ('/status/500', 'never', '{1s,1h}');
GRANT SET ON PARAMETER app.settings.api_url TO app_owner;
SQL
$old->configure('postgres', api_url => $receiver->url, secret => 'the secret');
$old->finished('postgres', $old->call('postgres', '/before?text=%C3%BC'));
# When the server stops, one call is on the wire and one is queued behind it.
$old->block_the_wire('postgres', $receiver);
my $queued = $old->call('postgres', '/queued');
my $bound  = $old->call('postgres', '/bound');
$old->safe_psql('postgres', "INSERT INTO wee5_cron.cron_caller VALUES ($bound, 1)");

# Every table of ours, and pg_cron's jobs.
sub state_of {
    my ($node) = @_;
    my %state;
    for my $table ($node->rows('postgres', <<'SQL')) {
SELECT c.oid::regclass AS name, c.relkind AS kind
FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid JOIN pg_class c ON c.oid = d.objid
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
  AND e.extname IN ('wee5_cron', 'pg_cron') AND c.relkind IN ('r', 'S')
SQL
        $state{ $table->{name} } = $node->safe_psql('postgres', $table->{kind} eq 'S'
            ? "SELECT last_value, is_called FROM $table->{name}"
            : "SELECT t FROM (SELECT to_jsonb(r)::text AS t FROM $table->{name} r) q ORDER BY t COLLATE \"C\"");
    }
    $state{grants} = $node->safe_psql('postgres', <<'SQL');
SELECT p.oid::regprocedure, a.grantee::regrole FROM pg_proc p, aclexplode(p.proacl) a
WHERE p.pronamespace = 'wee5_cron'::regnamespace AND a.grantee <> 10 ORDER BY p.oid::regprocedure::text, a.grantee::regrole::text
SQL
    $state{settings} = $node->safe_psql('postgres', "SELECT setconfig::text FROM pg_db_role_setting ORDER BY 1");
    return \%state;
}

# Stopped and started without room for a worker: pending work stays as it is while the test compares it.
my $no_workers = "\nmax_worker_processes = 2\n";
$old->append_conf('postgresql.conf', $no_workers);
$old->restart;
my $before = state_of($old);
like($before->{'wee5_cron.cron_caller'}, qr/"invocation_id": $bound\b/, 'before the upgrade there are rows that belong to this server alone');
isnt($before->{'wee5_cron.armed'}, '', '... and the database is armed');
like($before->{grants}, qr/register_jobs\(boolean\)\|app_owner/, '... and app_owner may operate the extension');
$old->stop;
# The upgrade itself has room for all the processes that we might start, and the log shows each one.
my $room_and_log = "\nmax_worker_processes = 16\nlog_min_messages = debug1\n";
$old->append_conf('postgresql.conf', $room_and_log);

my $here = getcwd();
# Upgrades the old server into a new one, which it starts without room for a worker.
sub upgraded {
    my ($mode) = @_;
    my $new = Wee5Cron::Node->new_configured("new_by_$mode", conf => $room_and_log, new => {@place});
    my $new_bin = $new->config_data('--bindir');
    chdir PostgreSQL::Test::Utils::tempdir() or die "chdir: $!";
    command_ok([ "$new_bin/pg_upgrade", ($mode eq 'link' ? '--link' : ()), '--retain', '-b', $old_bin, '-B', $new_bin, '-d', $old->data_dir, '-D', $new->data_dir, '-p', $old->port,
            '-P', $new->port, '-s', $new->host ], "pg_upgrade by $mode, with the library preloaded on both sides");
    chdir $here or die "chdir: $!";
    my $upgrade_log = join '', map { slurp_file($_) } grep { -f } glob($new->data_dir . '/pg_upgrade_output.d/*/log/*'), $new->logfile;
    like($upgrade_log, qr/database system is ready/, '... and its servers write a log');
    like($upgrade_log, qr/DEBUG: /, '... in detail');
    unlike($upgrade_log, qr/background worker (?:process )?"wee5_cron|FATAL|PANIC/, '... and start no process of ours');
    my @sent = $receiver->requests;
    $new->append_conf('postgresql.conf', $no_workers . "log_min_messages = warning\n");
    $new->start;
    my $after = state_of($new);
    is_deeply($after, $before, '... and everything is as it was');
    is($new->safe_psql('postgres', 'SELECT wee5_cron.is_armed()'), 't', '... and the database is armed');
    is(scalar(my @more = $receiver->requests), scalar @sent, '... and nothing was sent meanwhile');
    return $new;
}
# The first copy makes no call. The second one includes the old server's files: it is the one that goes on.
upgraded('copy')->stop;
my $new = upgraded('link');

# The second copy sends what was queued.
$new->append_conf('postgresql.conf', "\nmax_worker_processes = 16\n");
$receiver->release_for_good;
$new->restart;
is($new->finished('postgres', $queued)->{status}, 'succeeded', 'the new server sends what was queued');
is(scalar(my @heard = $receiver->requests('/queued')), 1, '... once');
Wee5Cron::Doctor->new($new, 'postgres')->red('physical_clone', 'warning', qr/system identifier/, 'the new server is not the one that was armed');
is($new->psql_as('app_owner', 'postgres', 'SELECT wee5_cron.register_jobs()'), 0, 'register_jobs() does not bring back the deleted job after the upgrade');
cmp_ok($new->call('postgres', '/after'), '>', $bound, 'ids continue after the upgrade');
$new->safe_psql('postgres', 'DROP EXTENSION wee5_cron');
is($new->safe_psql('postgres', 'SELECT count(*) FROM cron.job'), 0, 'DROP EXTENSION removes our jobs after the upgrade');

$new->log_is_sane;
done_testing();
