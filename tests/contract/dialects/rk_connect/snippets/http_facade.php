<?php
// Laravel's Http, as far as the snippets use it: JSON as json_encode writes it, forms under a boundary of its own.

class Http
{
    private array $headers = [];
    private bool $isForm = false;
    private int $status = 0;

    public static function __callStatic(string $name, array $arguments): Http
    {
        return (new Http())->$name(...$arguments);
    }

    public function __call(string $name, array $arguments): Http
    {
        if ($name === 'asMultipart') {
            $this->isForm = true;
        } elseif ($name === 'withHeaders') {
            $this->headers = $arguments[0];
        } else {
            throw new BadMethodCallException($name);
        }
        return $this;
    }

    public function post(string $url, array $data): Http
    {
        [$type, $content] = $this->isForm ? self::form($data) : ['application/json', json_encode($data)];
        $headers = ["Content-Type: $type"];
        foreach ($this->headers as $name => $value) {
            $headers[] = "$name: $value";
        }
        $options = ['method' => 'POST', 'header' => $headers, 'content' => $content, 'ignore_errors' => true];
        echo file_get_contents($url, false, stream_context_create(['http' => $options]));
        $this->status = (int) explode(' ', $http_response_header[0])[1];
        return $this;
    }

    public function status(): int
    {
        return $this->status;
    }

    private static function form(array $parts): array
    {
        $boundary = bin2hex(random_bytes(20));
        $content = '';
        foreach ($parts as $part) {
            $name = isset($part['filename']) ? "; filename=\"{$part['filename']}\"" : '';
            $value = is_resource($part['contents']) ? stream_get_contents($part['contents']) : $part['contents'];
            $head = "Content-Disposition: form-data; name=\"{$part['name']}\"$name";
            $content .= "--$boundary\r\n$head\r\n\r\n$value\r\n";
        }
        return ["multipart/form-data; boundary=$boundary", "$content--$boundary--\r\n"];
    }
}
