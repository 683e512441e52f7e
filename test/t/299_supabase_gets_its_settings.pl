# packaging/supabase/add_settings, with a real server. docker has a stand-in here, for which the container is this machine. As in
# Supabase's image, the server includes the files of conf.d, and postgres is no superuser but may read all settings.
use FindBin;
use lib "$FindBin::RealBin/../support";
use Wee5Cron::Test;

use Cwd qw(realpath);

my $script    = realpath("$FindBin::RealBin/../../packaging/supabase/add_settings");
my $directory = PostgreSQL::Test::Utils::tempdir();
my $file      = "$directory/conf.d/99-wee5_cron.conf";
mkdir "$directory/$_" or die $! for qw(bin conf.d);

$ENV{PGUSER} = 'supabase_admin';
my $receiver = Wee5Cron::Receiver->start(secret => 'the secret');
my $node = Wee5Cron::Node->new_configured('main', preload => 'auto_explain, pg_cron',
    init => { extra => [qw(--encoding=UTF8 --locale=C --username=supabase_admin)] },
    conf => "supautils.privileged_extensions = 'pg_cron, pg_net'\ninclude_dir = '$directory/conf.d'");
$node->start;
$node->safe_psql('postgres', 'CREATE ROLE postgres LOGIN');

# What is in the container has its environment and its files, not ours.
append_to_file("$directory/bin/docker", "#!/bin/sh\n" . sprintf <<'DOCKER', $ENV{PATH}, $node->host, $node->port, $directory);
test "$1 $2" = 'exec supabase-db' || { echo "No such container: $2" >&2; exit 1; }
shift 2
exec env -i 'PATH=%s' 'PGHOST=%s' PGPORT=%d "$1" "$2" "$(printf '%%s' "$3" | sed 's|/etc/postgresql-custom|%s|')"
DOCKER
chmod 0755, "$directory/bin/docker" or die $!;

sub add_settings {
    my (@container) = @_;
    local $ENV{PATH} = "$directory/bin:$ENV{PATH}";
    my ($out, $err) = ('', '');
    my $passed = IPC::Run::run([ $script, @container ], '<', \'', '>', \$out, '2>', \$err);
    return $passed ? "passed $out$err" : "failed $err";
}

like(add_settings(), qr/^failed usage: \S+add_settings CONTAINER$/, 'without a container, it says how it is called');
like(add_settings('other'), qr/^failed No such container: other$/, 'it asks docker for the container that is named');
like(add_settings('supabase-db'), qr/^failed .*examine "shared_preload_libraries"/, 'a server whose lists it may not read');
ok(!-e $file, '... gets no file');
$node->safe_psql('postgres', 'GRANT pg_monitor TO postgres');

my $lines = <<'CONF';
shared_preload_libraries = 'auto_explain, pg_cron, wee5_cron'
supautils.privileged_extensions = 'pg_cron, pg_net, wee5_cron'
CONF
is(add_settings('supabase-db'), 'passed ', 'it adds wee5_cron');
is(slurp_file($file), $lines, '... to the end of both lists, which keep what they have');
is(add_settings('supabase-db'), 'passed ', 'it may run again before the server restarts');
is(slurp_file($file), $lines, '... and changes nothing then');

$node->restart;
is($node->safe_psql('postgres', 'SHOW shared_preload_libraries; SHOW supautils.privileged_extensions'),
    "auto_explain, pg_cron, wee5_cron\npg_cron, pg_net, wee5_cron", 'the server starts with these lists');
$node->safe_psql('postgres', 'SET wee5_cron.default_jobs = off; CREATE EXTENSION pg_cron; CREATE EXTENSION wee5_cron');
$node->configure('postgres', api_url => $receiver->url, secret => 'the secret');
is($node->finished('postgres', $node->call('postgres', '/status/200'))->{status}, 'succeeded', '... and makes a call');
is(add_settings('supabase-db'), 'passed ', 'it may run again when the server has restarted');
is(slurp_file($file), $lines, '... and changes nothing then');

# Lists that were empty.
unlink $file or die $!;
append_to_file("$directory/conf.d/50-others.conf", "shared_preload_libraries = ''\nsupautils.privileged_extensions = ''\n");
$node->restart;
is(add_settings('supabase-db'), 'passed ', 'it adds wee5_cron to lists that are empty');
is(slurp_file($file), "shared_preload_libraries = 'wee5_cron'\nsupautils.privileged_extensions = 'wee5_cron'\n", '... and is alone there');

done_testing();
