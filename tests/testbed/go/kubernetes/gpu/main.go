// A device plugin that offers devices which are only counted: a node with GPUs for a machine without any.
//
// The kubelet then admits, counts and rejects pods as it does with the vendor's own plugin, and keeps doing so after it was
// restarted. Protocol: https://kubernetes.io/docs/concepts/extend-kubernetes/compute-storage-net/device-plugins/
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const socket = "testbed.sock"

type plugin struct {
	api.UnimplementedDevicePluginServer
	count int
}

func (p *plugin) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{}, nil
}

func (p *plugin) ListAndWatch(_ *api.Empty, stream grpc.ServerStreamingServer[api.ListAndWatchResponse]) error {
	var devices []*api.Device
	for i := range p.count {
		devices = append(devices, &api.Device{ID: fmt.Sprintf("gpu-%d", i), Health: api.Healthy})
	}
	if err := stream.Send(&api.ListAndWatchResponse{Devices: devices}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

func (p *plugin) Allocate(_ context.Context, request *api.AllocateRequest) (*api.AllocateResponse, error) {
	response := &api.AllocateResponse{}
	for range request.ContainerRequests {
		response.ContainerResponses = append(response.ContainerResponses, &api.ContainerAllocateResponse{})
	}
	return response, nil
}

// Serves until the kubelet, which empties the directory when it starts, takes the plugin's socket away.
func serve(resource string, count int) error {
	path := filepath.Join(api.DevicePluginPath, socket)
	_ = os.Remove(path)
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	defer server.Stop()
	api.RegisterDevicePluginServer(server, &plugin{count: count})
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	if err := register(resource); err != nil {
		return err
	}
	log.Printf("offers %d of %s", count, resource)
	for {
		select {
		case err := <-failed:
			return err
		case <-time.After(time.Second):
			if _, err := os.Stat(path); err != nil {
				return fmt.Errorf("the kubelet was restarted: %w", err)
			}
		}
	}
}

func register(resource string) error {
	connection, err := grpc.NewClient("unix://"+api.KubeletSocket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err = api.NewRegistrationClient(connection).Register(ctx, &api.RegisterRequest{
		Version: api.Version, Endpoint: socket, ResourceName: resource, Options: &api.DevicePluginOptions{},
	})
	return err
}

func main() {
	resource := flag.String("resource", "nvidia.com/gpu", "extended resource to offer")
	count := flag.Int("count", 1, "how many devices")
	flag.Parse()
	for {
		if _, err := os.Stat(api.KubeletSocket); err == nil {
			log.Print(serve(*resource, *count))
		}
		time.Sleep(200 * time.Millisecond)
	}
}
