# Host names that lead to the address that the test chooses: moving_names.c, and the file that it reads.
package Wee5Cron::MovingNames;

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use PostgreSQL::Test::Utils;

my $source = abs_path(dirname(__FILE__) . '/../moving_names.c');

sub new {
    my ($class) = @_;
    my $base = "$PostgreSQL::Test::Utils::tmp_check/moving_names";
    PostgreSQL::Test::Utils::system_or_bail('cc', '-shared', '-fPIC', '-O1', '-o', "$base.so", $source, '-ldl');
    my $self = bless { base => $base, lines => {} }, $class;
    $self->_write;
    return $self;
}

# From now on the name leads to that address and port.
sub lead {
    my ($self, $name, $address, $port) = @_;
    $self->{lines}{$name} = "$name $address $port\n";
    $self->_write;
    return;
}

# A reader sees either all of the old file or all of the new one.
sub _write {
    my ($self) = @_;
    open my $file, '>', "$self->{base}.new" or die "$self->{base}.new: $!";
    print {$file} values %{ $self->{lines} };
    close $file or die "$self->{base}.new: $!";
    rename "$self->{base}.new", $self->{base} or die "$self->{base}: $!";
    return;
}

# Starts a server that looks these names up.
sub start {
    my ($self, $node) = @_;
    local @ENV{qw(LD_PRELOAD MOVING_NAMES)} = ("$self->{base}.so", $self->{base});
    $node->start;
    return;
}

1;
