# An app on packages/wee5-cron, if `npm ci --prefix test/scripts` has installed what it needs.
#
#   my $app = Wee5Cron::PackageApp->start(secret => 'one', node => $node, database => 'postgres', role => 'app');
package Wee5Cron::PackageApp;

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname basename);
use PostgreSQL::Test::Utils;

use Wee5Cron::Process;

my $support = abs_path(dirname(__FILE__) . '/..');
my $modules = "$support/../scripts/node_modules";

# Why it cannot be started here; undef if it can.
sub missing {
    return (grep { !-e "$modules/$_/package.json" } qw(tsx pg postgres)) ? 'tsx, pg and postgres are not installed: npm ci --prefix test/scripts' : undef;
}

sub start {
    my ($class, %params) = @_;
    my $node = $params{node};
    my $process = Wee5Cron::Process->start(
        command => [ 'node', "$modules/tsx/dist/cli.mjs", "$support/package_app.ts" ],
        env     => {
            CRON_SECRET  => $params{secret},
            DATABASE_URL => database_url($node, @params{qw(database role)}),
        },
        log   => "$PostgreSQL::Test::Utils::log_path/" . basename($0, '.pl') . '_package_app.log',
        until => qr/^listening \d+$/m,
    );
    my ($port) = $process->output =~ /^listening (\d+)$/m;
    return bless { process => $process, url => "http://127.0.0.1:$port" }, $class;
}

sub database_url {
    my ($node, $database, $role) = @_;
    return "postgres:///$database?user=$role&port=" . $node->port . '&host=' . $node->host =~ s{/}{%2F}gr;
}

# Runs package_client.mts. Returns its output: one line per driver.
sub use_the_client {
    my ($node, $database, $role) = @_;
    local $ENV{DATABASE_URL} = database_url($node, $database, $role);
    my ($stdout, $stderr) = run_command([ 'node', "$modules/tsx/dist/cli.mjs", "$support/package_client.mts" ]);
    return join "\n", grep { length } $stdout, $stderr;
}

sub url { my ($self) = @_; return $self->{url} }

1;
