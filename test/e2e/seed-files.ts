// The seed's own two files, as its document prints them. Only the images' names are others: those that test/machine makes.

export const SEED_FILES = {
  'docker-compose.yml': `version: '3.8'
services:
  # nginx
  nginx:
    image: nginx:1.30
    container_name: nginx
    ports:
      - "80:80"
    volumes:
      - ./proxy/nginx.conf:/etc/nginx/nginx.conf
  # nginx을 통해서 로드밸런싱되는 app1, app2
  app1:
    image: hello-world-env
    environment:
      - 'MESSAGE=app1,v1'
    expose:
      - "3000"
  app2:
    image: hello-world-env
    environment:
      - 'MESSAGE=app2,v1'
    expose:
      - "3000"
`,
  'proxy/nginx.conf': `user  nginx;
worker_processes  1;

error_log  /var/log/nginx/error.log warn;
pid        /var/run/nginx.pid;

events {
    worker_connections  1024;
}

http {
    include       /etc/nginx/mime.types;
    default_type  application/octet-stream;

    # load balancing
    upstream apps {
        server app1:3000;
        server app2:3000;
    }

    server {
        listen 80;
        server_name localhost;

        location / {
            # proxy pass
            proxy_pass http://apps;

            proxy_http_version 1.1;
            proxy_redirect off;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection 'upgrade';
            proxy_set_header Host $host;
            proxy_cache_bypass $http_upgrade;
        }

    }

    log_format main '$remote_addr - $remote_user [$time_local] "$request" '
                      '$status $body_bytes_sent "$http_referer" '
                      '"$http_user_agent" "$http_x_forwarded_for"';

    access_log /var/log/nginx/access.log  main;

    sendfile on;
    keepalive_timeout 65;
    include /etc/nginx/conf.d/*.conf;
}
`,
}
