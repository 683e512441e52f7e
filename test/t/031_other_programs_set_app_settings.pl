# Other programs set app.settings.* in their sessions, as PostgREST does for each request. With wee5_cron.protect_secret off
# every role may do so, but a value set without the privilege never decides where the bearer secret goes. With it on, the
# error says what to do.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $app       = Wee5Cron::Receiver->start(secret => 'the secret');
my $elsewhere = Wee5Cron::Receiver->start(secret => 'the secret');
my $evil      = $elsewhere->url;
my $node      = Wee5Cron::Node->start_new('main');
$node->install('postgres', api_url => $app->url, secret => 'the secret', pg_cron => 0);
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE web LOGIN; CREATE ROLE trusted LOGIN; CREATE ROLE owner LOGIN;
SELECT wee5_cron.grant_to('web', 'call'), wee5_cron.grant_to('trusted', 'call');
GRANT SET ON PARAMETER app.settings.api_url TO trusted;
GRANT CREATE ON SCHEMA public TO web;
ALTER ROLE web SET app.settings.cron_secret = 'the secret';
SQL
my $set = "SELECT set_config('app.settings.api_url', '$evil', false)";

# With protect_secret on, the default.
for my $statement ("SET app.settings.api_url = '$evil'", $set, "SELECT set_config('app.settings.cron_secret', 'x', true)") {
    $node->raises('postgres', $statement, '42501', "protected: $statement", role => 'web', message => qr/permission denied to set parameter "app\.settings\./,
        hint => qr/PostgREST.*wee5_cron\.protect_secret = off/s);
}
$node->raises('postgres', 'SET wee5_cron.transport = builtin', '42501', 'an ordinary role may not set wee5_cron.transport', role => 'web');
is($node->error_of('postgres', 'SET wee5_cron.transport = builtin', role => 'web')->{hint}, undef, '... and the error has no hint about protect_secret');

# With protect_secret off.
$node->append_conf('postgresql.conf', 'wee5_cron.protect_secret = off');
$node->restart;
is($node->psql_as('web', 'postgres', "$set; SHOW app.settings.api_url"), "$evil\n$evil", 'with protect_secret off an ordinary role sets and sees its own value');
is($node->psql_as('web', 'postgres', "BEGIN; SELECT set_config('app.settings.cron_secret', 'x', true); COMMIT; SELECT current_setting('app.settings.cron_secret')"),
    "x\nthe secret", '... and a value for one transaction');

sub goes_to_the_app {
    my ($name, $sql, %params) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $id = (split /\n/, $node->safe_psql('postgres', $sql, extra_params => [ '-U', 'web' ]))[-1];
    my $row = $node->finished('postgres', $id);
    fields_are($row, { status => 'succeeded', url => qr/^\Q@{[ $app->url ]}\E/ }, "$name: the call goes to the app");
    is(scalar(() = $elsewhere->requests(qr{.})), 0, '... and not to the other address');
    return;
}
goes_to_the_app('SET', "SET app.settings.api_url = '$evil'; SELECT invoke_cron_endpoint('/status/200')");
goes_to_the_app('set_config', "$set; SELECT invoke_cron_endpoint('/status/200')");
goes_to_the_app('for the transaction', "BEGIN; SELECT set_config('app.settings.api_url', '$evil', true); SELECT invoke_cron_endpoint('/status/200'); COMMIT" =~ s/; COMMIT$/ AS id \\gset\nCOMMIT; SELECT :id/r);
goes_to_the_app('a secret', "SET app.settings.cron_secret = 'x'; SELECT invoke_cron_endpoint('/status/200')");
goes_to_the_app('a function', "CREATE FUNCTION f() RETURNS bigint LANGUAGE plpgsql AS \$\$ BEGIN PERFORM set_config('app.settings.api_url', '$evil', true); RETURN invoke_cron_endpoint('/status/200'); END \$\$; SELECT f()");
{
    local $ENV{PGOPTIONS} = "-c app.settings.api_url=$evil";
    goes_to_the_app('the connection', "SELECT invoke_cron_endpoint('/status/200')");
}
# pg_net, which gets the address when the call is made.
$node->safe_psql('postgres', q{CREATE EXTENSION pg_net VERSION 'wee5fixture'; ALTER DATABASE postgres SET wee5_cron.transport = 'pg_net'});
$node->psql_as('web', 'postgres', "$set; SELECT invoke_cron_endpoint('/on-pg-net')");
is($node->safe_psql('postgres', 'SELECT url FROM net.http_request_queue'), $app->url . '/on-pg-net', '... on pg_net, too');
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET wee5_cron.transport');

# Stored values count: a role cannot store them without the privilege, and cannot remove the ones stored for it.
for my $statement ("ALTER ROLE web SET app.settings.api_url = '$evil'", "ALTER ROLE web IN DATABASE postgres SET app.settings.api_url = '$evil'",
    "SET app.settings.api_url = '$evil'; ALTER ROLE web SET app.settings.api_url FROM CURRENT", 'ALTER ROLE web RESET app.settings.cron_secret',
    "CREATE FUNCTION g() RETURNS bigint LANGUAGE sql SET app.settings.api_url = '$evil' AS 'SELECT 1::bigint'",
    "ALTER FUNCTION f() SET app.settings.api_url = '$evil'") {
    $node->raises('postgres', $statement, '42501', "an ordinary role cannot store a setting: $statement", role => 'web');
}
is($node->psql_as('web', 'postgres', q{ALTER ROLE web SET search_path = public; ALTER ROLE web RESET ALL;
    SELECT array_to_string(setconfig, ' ') FROM pg_db_role_setting WHERE setrole = 'web'::regrole}), 'app.settings.cron_secret=the secret', 'RESET ALL keeps the secret stored for the role');
is($node->psql_as('web', 'postgres', "$set; SELECT 1"), "$evil\n1", '... and the role may still SET app.settings.api_url');

# An explicit SET by a privileged role still counts. With the builtin transport it cannot reach the worker.
for my $role (qw(trusted postgres)) {
    my $user = $role eq 'postgres' ? $node->safe_psql('postgres', 'SELECT current_user') : $role;
    $node->raises('postgres', "$set; SELECT invoke_cron_endpoint('/x')", '55000', "a value that $role sets applies", role => $user, message => qr/set in this session only/);
}
$node->raises('postgres', q{ALTER SYSTEM SET app.settings.api_url = 'x'}, '55P02', 'ALTER SYSTEM of app.settings.api_url is refused');

# With protect_secret on again: the values stored in the meantime are unchanged.
$node->append_conf('postgresql.conf', 'wee5_cron.protect_secret = on');
$node->restart;
goes_to_the_app('on again', q{SELECT invoke_cron_endpoint('/status/200')});

$node->log_is_sane;
done_testing();
