# docs/removing.md, statement by statement, on a server where every feature that leaves something behind was used.
# Afterwards nothing is left: no job, stored setting or grant, and no secret that a role can read.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Readme;
use Wee5Cron::Test fixtures => ['supabase_vault'];

my $page   = Wee5Cron::Readme::section('Removing it');
my @blocks = $page =~ /^```sql\n(.*?)^```$/msg;
my $named  = Wee5Cron::Readme::blocks('Removing it');
is(scalar(@blocks), 3, 'the page has three blocks for everybody');
is(join(' ', sort keys %$named), 'granted vault', '... and two for those who need them');

my $secret = 'canary-that-is-to-go';
my $hook   = 'https://hooks.example/canary-of-a-webhook';
my $node   = Wee5Cron::Node->new_configured('main');
$node->append_conf('postgresql.conf', <<'CONF');
cron.database_name = 'app'
wee5_cron.default_jobs = on
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE app');
$node->safe_psql('app', <<"SQL");
CREATE ROLE app_owner LOGIN;
CREATE ROLE reader LOGIN;
CREATE EXTENSION pg_cron;
CREATE EXTENSION wee5_cron;
CREATE EXTENSION supabase_vault VERSION 'wee5fixture';
GRANT SET ON PARAMETER app.settings.api_url, app.settings.cron_secret, app.settings.cron_secret_previous TO app_owner;
SELECT wee5_cron.configure('http://127.0.0.1:9', '$secret-of-yesterday', store => 'vault');
SELECT wee5_cron.configure('http://127.0.0.1:9', '$secret', store => 'vault');
SELECT wee5_cron.configure('http://127.0.0.1:9', '$secret-of-yesterday');
SELECT wee5_cron.configure('http://127.0.0.1:9', '$secret');
ALTER ROLE reader SET app.settings.cron_secret_previous = '{"secret": "$secret-of-yesterday"}';
ALTER DATABASE app SET wee5_cron.keep_failed = '1d';
ALTER ROLE reader SET app.settings.cron_secret = '$secret';
ALTER ROLE reader IN DATABASE app SET app.settings.api_url = 'http://127.0.0.1:9';
ALTER ROLE ALL SET wee5_cron.request_timeout = '5s';
ALTER SYSTEM SET wee5_cron.alert_url = '$hook';
SELECT wee5_cron.schedule('ours', '0 0 1 1 *', '/ours');
SELECT cron.schedule('by hand', '0 0 1 1 *', \$\$SELECT public.invoke_cron_endpoint('/by-hand')\$\$);
SELECT cron.schedule('of somebody', '0 0 1 1 *', 'SELECT 1');
SELECT wee5_cron.grant_to('app_owner', 'call');
SELECT wee5_cron.expose_api(role => 'reader');
SQL
$node->reload;
is($node->safe_psql('app', 'SELECT count(*) FROM vault.secrets'), 3, 'before the removal Vault has three secrets');
is($node->safe_psql('app', 'SELECT count(*) FROM cron.job'), 6, "before the removal there are six jobs, one of them another user's");

# The output of the second block is to be run. The third block runs its own.
my @statements;
$node->safe_psql('app', $blocks[0]);
@statements = split /\n/, $node->safe_psql('app', $blocks[1]);
cmp_ok(scalar(@statements), '>=', 4, "the page's query finds what is stored for databases and roles");
$node->safe_psql('app', $_) for @statements;
$node->safe_psql('app', $blocks[2]);
$node->safe_psql('app', $named->{$_}) for qw(granted vault);
# What the page says about removing the library.
my $conf = slurp_file($node->data_dir . '/postgresql.conf') =~ s/^wee5_cron\..*\n//mgr =~ s/pg_cron,wee5_cron/pg_cron/r;
open my $file, '>', $node->data_dir . '/postgresql.conf' or die $!;
print {$file} $conf;
close $file or die $!;
$node->restart;

is($node->safe_psql('app', 'SELECT jobname FROM cron.job'), 'of somebody', "only the other user's job is left");
is($node->safe_psql('app', "SELECT count(*) FROM pg_db_role_setting WHERE setconfig::text ~ 'wee5_cron|app[.]settings'"), 0, 'no stored setting is left');
is($node->safe_psql('app', 'SELECT count(*) FROM pg_parameter_acl'), 0, 'no grant is left');
is($node->safe_psql('app', 'SELECT count(*) FROM vault.secrets'), 0, 'no secret is left in Vault');
is($node->safe_psql('app', "SELECT count(*) FROM pg_namespace WHERE nspname ~ 'wee5_cron'"), 0, 'no schema is left, of expose_api() neither');
is($node->safe_psql('app', "SELECT count(*) FROM pg_proc WHERE proname = 'invoke_cron_endpoint'"), 0, 'no function is left');
# Its name may be part of a path, for example the directory of the sockets.
for my $name (qw(postgresql.conf postgresql.auto.conf)) {
    unlike(slurp_file($node->data_dir . "/$name"), qr{(?<![\w/])wee5_cron\b|canary}, "$name does not mention wee5_cron");
}
for my $setting (qw(app.settings.api_url app.settings.cron_secret app.settings.cron_secret_previous wee5_cron.alert_url)) {
    is($node->psql_as('reader', 'app', "SELECT coalesce(current_setting('$setting', true), '')"), '', "no role can read $setting");
}
is($node->error_of('app', "DROP ROLE $_"), undef, "the role $_ can be dropped") for qw(app_owner reader);
done_testing();
