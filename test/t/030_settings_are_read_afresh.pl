# A setting that another session changes applies to the next call and to calls that are already queued. Also: which stored
# value applies to which role, and which values are refused.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my $old = Wee5Cron::Receiver->start(secret => 'the old secret');
my $new = Wee5Cron::Receiver->start(secret => 'the new secret');
my $node = Wee5Cron::Node->start_new('main');
$node->install('postgres', api_url => $old->url, secret => 'the old secret');

sub requests_of {
    my ($path, @receivers) = @_;
    return join ' ', map { scalar(my @requests = $_->requests($path)) } @receivers;
}

# An open session, whose own copy of the settings is out of date after the change.
my $session = $node->background_psql('postgres');
my $before  = $session->query_safe("SELECT invoke_cron_endpoint('/before')");
$node->finished('postgres', $before);
is(requests_of('/before', $old, $new), '1 0', 'the first call goes to the first app');

# There is one slot, and a request in it hangs. Calls behind it stay queued while both settings change.
$node->block_the_wire('postgres', $old);
my $queued = $session->query_safe("SELECT invoke_cron_endpoint('/queued')");
$node->configure('postgres', api_url => $new->url . '/', secret => 'the new secret');
my $after = $session->query_safe("SELECT invoke_cron_endpoint('/after')");
is($session->query_safe('SHOW app.settings.api_url'), $old->url, "the session's own copy is stale");
fields_are($node->invocation('postgres', $queued), { status => 'queued', attempts => 0, finished_at => undef },
    'a call stays queued while every slot is taken');
$old->release;
my $row = $node->finished('postgres', $queued);
fields_are($row, { status => 'succeeded', url => $new->url . '/queued' }, 'a queued call uses the changed api_url');
is(requests_of('/queued', $old, $new), '0 1', '... and goes only to the new app');
is(($new->requests('/queued'))[0]{bearer}, 'match', '... with the new secret');
fields_are($node->finished('postgres', $after), { status => 'succeeded', url => $new->url . '/after' },
    'a call from a session that was open before the change uses the new api_url');
is(requests_of('/after', $old, $new), '0 1', '... and goes only to the new app');
$session->quit;
$node->set_server('wee5_cron.max_in_flight', 256);

# Roles: a value stored for the session_user takes precedence over the database's. The database now points to the new app.
$node->safe_psql('postgres', 'CREATE ROLE web LOGIN; CREATE ROLE other LOGIN');
$node->safe_psql('postgres', qq{SELECT wee5_cron.grant_to('$_', 'call')}) for qw(web other);
$node->safe_psql('postgres', "ALTER ROLE web SET app.settings.api_url = '@{[ $old->url ]}';"
      . "ALTER ROLE web SET app.settings.cron_secret = 'the old secret'");
my $id = $node->psql_as('web', 'postgres', "SELECT invoke_cron_endpoint('/as-web')");
$row = $node->finished('postgres', $id);
fields_are($row, { status => 'succeeded', requested_by => 'web', url => $old->url . '/as-web' },
    "a role's own api_url takes precedence over the database's");
is(($old->requests('/as-web'))[0]{bearer}, 'match', '... and so does its secret');

$id = $node->psql_as('other', 'postgres', "SELECT invoke_cron_endpoint('/as-other')");
fields_are($node->finished('postgres', $id), { status => 'succeeded', requested_by => 'other', url => $new->url . '/as-other' },
    "a role without its own settings uses the database's");
$id = $node->safe_psql('postgres', "SET ROLE web; SELECT invoke_cron_endpoint('/set-role')");
fields_are($node->finished('postgres', $id), { requested_by => qr/./, url => $new->url . '/set-role' },
    "after SET ROLE the session user's settings still apply");

$node->safe_psql('postgres', "ALTER ROLE web IN DATABASE postgres SET app.settings.api_url = '@{[ $new->url ]}/prefix';"
      . "ALTER ROLE web IN DATABASE postgres SET app.settings.cron_secret = 'the new secret'");
$id = $node->psql_as('web', 'postgres', "SELECT invoke_cron_endpoint('/as-web-here')");
fields_are($node->finished('postgres', $id), { status => 'succeeded', url => $new->url . '/prefix/as-web-here' },
    "a setting of a role in a database takes precedence over the role's");
is(($new->requests('/prefix/as-web-here'))[0]{bearer}, 'match', '... and so does its secret');

# A blank value counts as unset: the next source applies.
$node->safe_psql('postgres', "ALTER ROLE web IN DATABASE postgres SET app.settings.api_url = '  ';"
      . "ALTER ROLE web IN DATABASE postgres SET app.settings.cron_secret = ''");
$id = $node->psql_as('web', 'postgres', "SELECT invoke_cron_endpoint('/blank')");
fields_are($node->finished('postgres', $id), { status => 'succeeded', url => $old->url . '/blank' }, 'a blank value of a role counts as unset');

$node->safe_psql('postgres', "ALTER ROLE ALL SET app.settings.api_url = '@{[ $old->url ]}/all'");
$id = $node->call('postgres', '/all-roles');
fields_are($node->finished('postgres', $id), { url => $new->url . '/all-roles' }, "a database's setting takes precedence over ALTER ROLE ALL");
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET app.settings.api_url;'
      . "ALTER DATABASE postgres SET app.settings.cron_secret = 'the old secret'");
$id = $node->call('postgres', '/all-roles');
fields_are($node->finished('postgres', $id), { status => 'succeeded', url => $old->url . '/all/all-roles' },
    'the setting of ALTER ROLE ALL applies if the database has none');
$node->safe_psql('postgres', 'ALTER ROLE ALL RESET app.settings.api_url; ALTER ROLE web RESET ALL;'
      . 'ALTER ROLE web IN DATABASE postgres RESET ALL');

# Nothing is set.
$node->raises('postgres', "SELECT invoke_cron_endpoint('/no-url')", '55000', 'a missing api_url is an error',
    message => qr/api_url/, hint => qr/\w/);
$node->configure('postgres', api_url => $old->url);
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET app.settings.cron_secret');
$node->raises('postgres', "SELECT invoke_cron_endpoint('/no-secret')", '55000', 'a missing secret is an error',
    message => qr/cron_secret/, hint => qr/\w/);
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path LIKE '/no-%'"),
    0, '... and leaves no row');

$node->safe_psql('postgres', "ALTER DATABASE postgres SET wee5_cron.missing_config = 'skip'");
$id = $node->call('postgres', '/skipped');
fields_are(
    $node->invocation('postgres', $id),
    { status => 'skipped', reason => 'config', finished_at => qr/./, attempts => 0, error => qr/cron_secret/, hint => qr/\w/, http_status => undef },
    "with missing_config = 'skip' a call without settings leaves a skipped row");
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET wee5_cron.missing_config');

# A value set in the session alone cannot reach the worker.
$node->raises('postgres', "SET app.settings.cron_secret = 'only here'; SELECT invoke_cron_endpoint('/session')", '55000',
    'a secret only in the session is an error', hint => qr/\w/);
$node->configure('postgres', secret => 'the old secret');
$node->raises('postgres', "SET app.settings.api_url = '@{[ $new->url ]}'; SELECT invoke_cron_endpoint('/session')", '55000',
    'an api_url only in the session too', hint => qr/\w/);

# A setting that disappears, or becomes invalid, while the call is queued.
my $hanging = $node->block_the_wire('postgres', $old);
my $lost = $node->call('postgres', '/lost-its-secret');
$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET app.settings.cron_secret');
$old->release;
fields_are($node->finished('postgres', $lost),
    { status => 'failed', reason => 'config', error => qr/cron_secret/, hint => qr/\w/, http_status => undef },
    'a queued call whose secret is removed fails with reason config');
$node->configure('postgres', secret => 'the old secret');
$id = $node->call('postgres', '/works-again');
is($node->finished('postgres', $id)->{status}, 'succeeded', '... and the next call succeeds once the secret is back');
is(requests_of(qr{^/(?:session|skipped|no-|lost)}, $old, $new), '0 0', 'without a stored secret no request is made');

# Which roles may set and read the settings.
$node->raises('postgres', "SET app.settings.api_url = 'http://127.0.0.1:1'", '42501', 'an ordinary role may not set api_url', role => 'web');
$node->raises('postgres', 'SHOW app.settings.cron_secret', '42501', 'an ordinary role may not see the secret', role => 'web');
$node->raises('postgres', "ALTER SYSTEM SET app.settings.cron_secret = 'x'", '55P02',
    'ALTER SYSTEM is refused for a setting with which the server would not start');
$node->raises('postgres', "SET wee5_cron.transport = 'pg_net'", '42501', 'an ordinary role may not choose the transport', role => 'web');

$node->log_is_sane;
done_testing();
