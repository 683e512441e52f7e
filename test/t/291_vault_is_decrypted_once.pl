# Decrypting Vault's secrets costs more than a call. So the worker does it once for all roles whose calls it sends at a
# time, and a session does it once until something changes. Changes apply at once.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

my @receivers = map { Wee5Cron::Receiver->start(secret => "the secret $_") } 0, 1;
my $node = Wee5Cron::Node->start_new('main', conf => 'track_functions = all');
$node->install('postgres');
my @roles = map { "role$_" } 1 .. 40;
$node->safe_psql('postgres', "CREATE EXTENSION supabase_vault VERSION 'wee5fixture'; " . join ' ', map { "CREATE ROLE $_ LOGIN; SELECT wee5_cron.grant_to('$_', 'call');" } @roles);
my $configure = sub { $node->safe_psql('postgres', "SELECT wee5_cron.configure('" . $receivers[ $_[0] ]->url . "', 'the secret $_[0]', store => 'vault')") };
$configure->(0);
$node->finished('postgres', $node->call('postgres', '/warm'));

# How many times the worker has decrypted a secret. It reports its count before it rests.
sub decrypted {
    $node->poll_query_until('postgres', "SELECT state = 'idle' FROM wee5_cron.worker WHERE datname = 'postgres'") or die;
    return $node->safe_psql('postgres', "SELECT coalesce(sum(calls), 0) FROM pg_stat_user_functions WHERE funcname = '_reveal'");
}

# Calls of many roles in one transaction: the worker reads them in a turn or two.
my $before = decrypted();
$node->safe_psql('postgres', "INSERT INTO wee5_cron.invocation (endpoint_path, transport, requested_by) SELECT '/of/' || n, 'builtin', 'role' || n FROM generate_series(1, 40) n; SELECT wee5_cron.wake_worker()");
$node->wait_until_all_finished('postgres');
is($node->safe_psql('postgres', "SELECT count(*) FROM wee5_cron.invocation WHERE endpoint_path LIKE '/of/%' AND status = 'succeeded'"), 40, 'calls of forty roles are sent with the values from Vault');
cmp_ok(decrypted() - $before, '<=', 20, '... and Vault is decrypted a few times, not once per role');

# A session that makes many calls. Only the worker commits meanwhile, and it is stopped.
$node->set_server('wee5_cron.max_in_flight', 1);
$receivers[0]->hold;
my $blocks = $node->call('postgres', '/hang');
$receivers[0]->wait_for_requests('/hang');
my ($made, $times) = split /\n/, $node->safe_psql('postgres', <<'SQL');
BEGIN;
SELECT count(invoke_cron_endpoint('/many')) FROM generate_series(1, 500);
SELECT calls FROM pg_stat_xact_user_functions WHERE funcname = '_reveal';
COMMIT;
SQL
is($made, 500, 'one transaction makes many calls');
cmp_ok($times, '<=', 50, '... and decrypts Vault only a few times');
$receivers[0]->release_for_good;
$node->wait_until_all_finished('postgres');

# Changes apply at once: in a session that has read Vault before, in the transaction that makes the change, and when it is
# rolled back.
my $session = $node->background_psql('postgres');
my $url = sub { $session->query_safe("SELECT value FROM wee5_cron.setting_sources() WHERE name = 'app.settings.api_url'") };
is($url->(), $receivers[0]->url, 'a session reads its address from Vault');
$configure->(1);
is($url->(), $receivers[1]->url, '... and sees what another session stores there');
my $id = $node->call('postgres', '/moved');
is($node->finished('postgres', $id)->{status}, 'succeeded', '... and the next call succeeds');
is(scalar(() = $receivers[1]->requests('/moved')), 1, '... at the new address');
my $old = $receivers[0]->url;
$session->query_safe("BEGIN; SELECT vault.update_secret(id, '$old') FROM vault.secrets WHERE name = 'api_url'");
is($url->(), $old, 'a session sees what its own transaction stores in Vault');
$session->query_safe('SAVEPOINT a');
$session->query_safe("SELECT vault.update_secret(id, '$old/prefix') FROM vault.secrets WHERE name = 'api_url'");
is($url->(), "$old/prefix", '... and what a savepoint stores');
$session->query_safe('ROLLBACK TO a');
is($url->(), $old, '... and no longer what was rolled back to a savepoint');
$session->query_safe('ROLLBACK');
is($url->(), $receivers[1]->url, '... and no longer what was rolled back');
$node->safe_psql('postgres', "UPDATE vault.secrets SET nonce = decode(repeat('00', 16), 'hex') WHERE name = 'api_url'");
like($session->query_safe("SELECT error FROM wee5_cron.setting_sources() WHERE name = 'app.settings.api_url'"), qr/Vault cannot be read/, 'setting_sources() says when a value can no longer be decrypted');
$node->safe_psql('postgres', "DELETE FROM vault.secrets WHERE name = 'api_url'");
$configure->(1);
is($url->(), $receivers[1]->url, '... and uses it again once it is stored again');
$node->safe_psql('postgres', 'DROP EXTENSION supabase_vault');
is($session->query_safe("SELECT source FROM wee5_cron.setting_sources() WHERE name = 'app.settings.api_url'"), 'none', 'without Vault its values do not apply');

$session->quit;
$node->log_is_sane;
done_testing();
