# The way from the portable edition to the extension: what docs/supabase.md says, on a server that has both.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test fixtures => [ 'pg_net', 'supabase_vault' ];
use Wee5Cron::Hosted;
use Wee5Cron::Readme;

my $secret   = 'canary-of-the-move';
my $receiver = Wee5Cron::Receiver->start(secret => $secret);
my $node     = Wee5Cron::Hosted->start_new('main');
plan skip_all => 'the extension wee5_cron is not installed on this server'
  unless $node->safe_psql('postgres', "SELECT count(*) FROM pg_available_extensions WHERE name = 'wee5_cron'");
my $steps = Wee5Cron::Readme::blocks('Move to the extension');

# A project in use: calls that have ended, failed and wait, jobs that were paused and removed, policies, settings, roles.
$node->install_portable;
$node->as_owner("SELECT wee5_cron.configure('@{[ $receiver->url ]}', '$secret')");
$node->as_owner(<<'SQL');
CREATE ROLE caller LOGIN; CREATE ROLE reader LOGIN;
SELECT wee5_cron.grant_to('caller', 'call'), wee5_cron.grant_to('reader', 'read');
SELECT wee5_cron.schedule('nightly', '0 3 * * *', '/status/200?nightly'), wee5_cron.pause('nightly', 'for a while'), wee5_cron.unschedule('daily-analytics');
SELECT wee5_cron.set('keep_failed', '60d'), wee5_cron.set('on_physical_copy', 'continue');
INSERT INTO wee5_cron.endpoint (endpoint_path, retry_delays, alert_after, note) VALUES ('/status/503', '{1 hour}', 1, 'busy');
SQL
my ($done, $failed, $retrying) = map { $node->as_owner("SELECT invoke_cron_endpoint('/status/$_')") } 200, 404, 503;
$node->deliver_and_harvest;
my $out = $node->as_owner("SELECT invoke_cron_endpoint('/status/200?out')");
my %is  = (
    calls    => 'SELECT id, endpoint_path, status, attempts, http_status, next_attempt_at, idempotency_key, requested_by FROM wee5_cron.invocation ORDER BY id',
    attempts => 'SELECT * FROM wee5_cron.attempt ORDER BY 1, 2',
    policies => 'SELECT * FROM wee5_cron.endpoint ORDER BY 1',
    jobs     => "SELECT * FROM wee5_cron.job WHERE job_name <> 'wee5-cron-harvest' ORDER BY 1",
    troubles => 'SELECT * FROM wee5_cron.trouble ORDER BY 1, 2',
    ticks    => "SELECT jobid, jobname, schedule, command, username, active FROM cron.job WHERE jobname <> 'wee5-cron-harvest' ORDER BY 1",
);
my %was = map { $_ => $node->safe_psql('postgres', $is{$_}) } keys %is;

sub move { return ($node->run_script($steps->{move}, role => 'supabase_admin', single => 0))[1] }

my $libraries = $node->safe_psql('postgres', 'SHOW shared_preload_libraries');
$node->append_conf('postgresql.conf', "shared_preload_libraries = '$libraries,wee5_cron'");
$node->restart;
is($node->as_owner("SELECT status FROM wee5_cron.invocation WHERE id = $done"), 'succeeded', 'the portable edition works while the library is preloaded');

is(move(), undef, 'the statements of the page move the database') or BAIL_OUT('it did not move');
is($node->safe_psql('postgres', "SELECT extversion IS NOT NULL FROM pg_extension WHERE extname = 'wee5_cron'"), 't', 'the extension is installed');
is($node->safe_psql('postgres', $is{$_}), $was{$_}, "... with the same $_") for grep { $_ ne 'calls' } sort keys %is;
is($node->safe_psql('postgres', "$is{calls} LIMIT 3"), join("\n", (split /\n/, $was{calls})[ 0 .. 2 ]), '... with the same calls');
is($node->safe_psql('postgres', 'SELECT wee5_cron.is_armed()'), 't', '... and the database still makes calls');
is($node->safe_psql('postgres', "SELECT count(*) FROM cron.job WHERE jobname IN ('wee5-cron-harvest', 'daily-analytics')"), 0, '... and there is no harvest job, and no job that was removed');
is($node->safe_psql('postgres', 'SHOW wee5_cron.keep_failed'), '60d', '... and a setting is kept');
is($node->invocation_when('postgres', $out, "status = 'succeeded'")->{http_status}, 200, 'a call that pg_net already had is recorded') if $node->uses_real_pg_net;
my $new = $node->psql_as('caller', 'postgres', "SELECT public.invoke_cron_endpoint('/status/200?after')");
cmp_ok($new, '>', $out, 'a new call gets a new id');
fields_are($node->finished('postgres', $new), { status => 'succeeded', requested_by => 'caller' }, '... and succeeds with the values from Vault, for a role that had a profile');
is($node->psql_as('reader', 'postgres', "SELECT state FROM wee5_cron.job_status WHERE job_name = 'nightly'"), 'paused', 'job_status shows the paused job');
is($node->as_owner("SELECT wee5_cron.resume('nightly'); SELECT wee5_cron.unschedule('nightly')"), "\nt", 'the owner may operate the extension');
is($node->safe_psql('postgres', $steps->{stored}), '', 'no stored value takes precedence over Vault');
$node->safe_psql('postgres', "ALTER DATABASE postgres SET app.settings.api_url = 'https://old.example.com'");
is($node->safe_psql('postgres', $steps->{stored}), 'postgres|all roles|app.settings.api_url', '... and one that does is listed');
is($node->error_of('postgres', $steps->{done}), undef, 'the last statement of the page removes the rest of the portable edition');
is($node->safe_psql('postgres', "SELECT string_agg(check_name, ' ') FROM wee5_cron.doctor() WHERE check_name IN ('namesakes', 'armed', 'callers') AND status = 'error'"), '', 'doctor() reports no error about namesakes, arming or callers');

# A database that made no calls makes none after the move.
$node->safe_psql('postgres', 'DROP EXTENSION wee5_cron');
$node->install_portable;
is(move(), undef, 'a database that was not configured can move, too');
is($node->safe_psql('postgres', 'SELECT wee5_cron.is_armed()'), 'f', '... and makes no calls');
$node->log_is_sane;
done_testing();
