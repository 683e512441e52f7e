# An app on the real Fastify, if `npm ci --prefix test/scripts` has installed it and Node is new enough for it.
#
#   my $app = Wee5Cron::Fastify->start(secret => 'one');
package Wee5Cron::Fastify;

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname basename);
use PostgreSQL::Test::Utils;

use Wee5Cron::Process;

my $support = abs_path(dirname(__FILE__) . '/..');

# Why it cannot be started here; undef if it can.
sub missing {
    return 'fastify is not installed: npm ci --prefix test/scripts' unless -e "$support/../scripts/node_modules/fastify/package.json";
    my ($major) = `node --version` =~ /^v(\d+)/;
    return 'Fastify wants Node 20 or newer' unless $major && $major >= 20;
    return undef;
}

sub start {
    my ($class, %params) = @_;
    my $process = Wee5Cron::Process->start(
        command => [ 'node', "$support/fastify_app.mjs" ],
        env     => { FASTIFY_SECRET => $params{secret} },
        log     => "$PostgreSQL::Test::Utils::log_path/" . basename($0, '.pl') . '_fastify.log',
        until   => qr/^listening \d+$/m,
    );
    my ($port) = $process->output =~ /^listening (\d+)$/m;
    return bless { process => $process, port => $port }, $class;
}

sub url {
    my ($self) = @_;
    return "http://127.0.0.1:$self->{port}";
}

1;
